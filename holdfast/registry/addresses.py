"""Service addresses: cluster IPs and node ports. The Services themselves are the only record of what is taken.

Taken is what Services in the watch cache hold, plus what writes on their way have reserved; both are
looked at in one step without a suspension, so no two Services get the same. A reservation ends with its
write, when the cache (or nobody) holds the address.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from functools import partial

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors
from holdfast.registry.cache import CacheEvent, WatchCache

PREFIX = "/registry/services/"
NODE_PORTS = range(30000, 32768)
HEADLESS = "None"


class Addresses:
    """What Services hold, as counts (two Services may share a port number with different protocols)."""

    def __init__(self, cache: WatchCache, cidr: str) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        self.api = str(self.network[1])
        self.dns = str(self.network[10])
        self._cache = cache
        self._held: dict[str, str] = {}
        """Address or port/protocol -> key of the Service that holds it."""
        self._reserved: dict[str, str] = {}
        self._stale = True
        cache.on_event(self._seen)

    def _seen(self, event: CacheEvent | None) -> None:
        if event is None:
            self._stale = True
        elif not self._stale and event.key.startswith(PREFIX):
            if event.old is not None:
                for name in _names(event.old.obj):
                    if self._held.get(name) == event.key:
                        del self._held[name]
            if event.type != "delete":
                self._held.update(dict.fromkeys(_names(event.new.obj), event.key))

    def holder(self, name: str) -> str:
        """The key of the Service that holds an address or port; "" when it is free."""
        if self._stale:
            self._stale = False
            self._held = {
                name: key for item in self._cache.list(PREFIX) for key in (service_key(item.obj),) for name in _names(item.obj)
            }
        return self._held.get(name) or self._reserved.get(name) or ""

    def reserve(self, name: str, key: str) -> Callable[[], None]:
        """Until the returned act, which ends what began here and nothing else."""
        if name in self._reserved:
            return lambda: None
        self._reserved[name] = key
        return partial(self._free, name)

    def _free(self, name: str) -> None:
        self._reserved.pop(name, None)

    def pick_address(self) -> str:
        """A free address, from the upper part first: the lower is for those who choose."""
        size = self.network.num_addresses
        band = min(max(16, size // 16), 256)
        for low, high in ((band, size - 2), (1, band - 1)):
            if high < low:
                continue
            start = random.SystemRandom().randint(low, high)
            for step in range(high - low + 1):
                address = str(self.network[low + (start - low + step) % (high - low + 1)])
                if address not in (self.api, self.dns) and not self.holder(address):
                    return address
        raise errors.internal("failed to allocate a serviceIP: range is full")

    def pick_port(self, protocols: set[str]) -> int:
        start = random.SystemRandom().choice(NODE_PORTS)
        for step in range(len(NODE_PORTS)):
            port = NODE_PORTS[(start - NODE_PORTS[0] + step) % len(NODE_PORTS)]
            if not any(self.holder(port_name(port, protocol)) for protocol in protocols):
                return port
        raise errors.internal("failed to allocate a nodePort: range is full")


def port_name(port: int, protocol: str) -> str:
    return f"{port}/{protocol}"


def service_key(service: Obj) -> str:
    return f"{PREFIX}{service['metadata'].get('namespace', '')}/{service['metadata'].get('name', '')}"


def _names(service: Obj) -> list[str]:
    spec = service.get("spec") or {}
    found = [a for a in spec.get("clusterIPs") or [spec.get("clusterIP")] if a and a != HEADLESS]
    found += [port_name(p["nodePort"], p.get("protocol", "TCP")) for p in spec.get("ports") or [] if p.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        found.append(port_name(spec["healthCheckNodePort"], "TCP"))
    return found
