"""Service addresses: cluster IPs and node ports. The Services themselves are the only record of what is taken.

Taken is what Services in the watch cache hold, plus what writes on their way have reserved; both are
looked at in one step without a suspension, so no two Services get the same. A reservation ends with its
write, when the cache (or nobody) holds the address.
"""

from __future__ import annotations

import ipaddress
import random
from functools import partial

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, fielderror
from holdfast.machinery.fielderror import FieldError
from holdfast.registry.cache import CacheEvent, WatchCache
from holdfast.registry.write import Write

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
            self._held = {name: key for item in self._cache.list(PREFIX) for key in (_key(item.obj),) for name in _names(item.obj)}
        return self._held.get(name) or self._reserved.get(name) or ""

    def reserve(self, write: Write, name: str) -> None:
        key = _key(write.new)
        if name not in self._reserved:
            self._reserved[name] = key
            write.releases.append(partial(self._free, name))

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
            if not any(self.holder(_port(port, protocol)) for protocol in protocols):
                return port
        raise errors.internal("failed to allocate a nodePort: range is full")


def _port(port: int, protocol: str) -> str:
    return f"{port}/{protocol}"


def _key(service: Obj) -> str:
    return f"{PREFIX}{service['metadata'].get('namespace', '')}/{service['metadata'].get('name', '')}"


def _names(service: Obj) -> list[str]:
    spec = service.get("spec") or {}
    found = [a for a in spec.get("clusterIPs") or [spec.get("clusterIP")] if a and a != HEADLESS]
    found += [_port(p["nodePort"], p.get("protocol", "TCP")) for p in spec.get("ports") or [] if p.get("nodePort")]
    return found


async def allocate(write: Write) -> None:
    """The pipeline's last step: never suspends between looking and reserving."""
    resource = write.kind.resource
    if (resource.group, resource.plural) != ("", "services") or write.request.subresource:
        return
    spec = write.new["spec"]
    if spec.get("type") == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            spec.pop(name, None)
        _drop_ports(spec)
        return
    found = _cluster_ip(write, spec)
    if spec.get("type") in ("NodePort", "LoadBalancer") and spec.get("allocateLoadBalancerNodePorts") is not False:
        found += _node_ports(write, spec)
    elif spec.get("type") == "ClusterIP":
        _drop_ports(spec)
        spec.pop("externalTrafficPolicy", None)
        spec.pop("allocateLoadBalancerNodePorts", None)
    if found:
        write.release()
        raise errors.invalid("Service", write.new["metadata"]["name"], found)


def _drop_ports(spec: Obj) -> None:
    for port in spec.get("ports") or []:
        port.pop("nodePort", None)


def _cluster_ip(write: Write, spec: Obj) -> list[FieldError]:
    addresses = write.registry.addresses
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    address = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or []), "")
    if address == HEADLESS:
        spec["clusterIP"], spec["clusterIPs"] = HEADLESS, [HEADLESS]
        return []
    if not address:
        address = addresses.pick_address()
    else:
        path, listed = "spec.clusterIPs", [address]
        try:
            if ipaddress.IPv4Address(address) not in addresses.network:
                text = f"failed to allocate IP {address}: the provided IP is not in the valid range. The range of valid IPs is "
                return [fielderror.invalid(path, listed, text + str(addresses.network))]
        except ValueError:
            return [fielderror.invalid(f"{path}[0]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
        if addresses.holder(address) not in ("", _key(write.new)):
            return [fielderror.invalid(path, listed, f"failed to allocate IP {address}: provided IP is already allocated")]
    addresses.reserve(write, address)
    spec["clusterIP"], spec["clusterIPs"] = address, [address]
    return []


def _node_ports(write: Write, spec: Obj) -> list[FieldError]:
    addresses, key = write.registry.addresses, _key(write.new)
    before = {
        (p.get("name", ""), p.get("protocol")): p.get("nodePort") for p in ((write.old or {}).get("spec") or {}).get("ports") or []
    }
    found = []
    for position, port in enumerate(spec.get("ports") or []):
        protocol = port.get("protocol", "TCP")
        number = port.get("nodePort") or before.get((port.get("name", ""), protocol)) or addresses.pick_port({protocol})
        name = _port(number, protocol)
        path = f"spec.ports[{position}].nodePort"
        if number not in NODE_PORTS:
            text = f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[-1]}"
            found.append(fielderror.invalid(path, number, text))
        elif addresses.holder(name) not in ("", key):
            found.append(fielderror.invalid(path, number, "provided port is already allocated"))
        else:
            addresses.reserve(write, name)
            port["nodePort"] = number
    return found
