"""Cluster IPs and node ports: allocated out of what the Services in the cache hold, so nothing has to be kept beside them.

Allocation and commit are not one step; what was handed out moments ago is remembered until the cache
shows it, so two creates at once never get the same address.
"""

from __future__ import annotations

import ipaddress
import random
import time
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery.fielderror import FieldError, invalid
from holdfast.registry.cache import WatchCache

PORTS = range(30000, 32768)
RESERVED = 10
"""Offset of the DNS address in the range; the first one is the API's."""
HELD_SECONDS = 30.0


class Addresses:
    def __init__(self, cache: WatchCache, cidr: str) -> None:
        self._cache = cache
        self.network = ipaddress.ip_network(cidr)
        self._held: dict[str | int, float] = {}

    def _used(self) -> tuple[set[str], set[int]]:
        now = time.monotonic()
        self._held = {value: until for value, until in self._held.items() if until > now}
        addresses = {v for v in self._held if isinstance(v, str)}
        ports = {v for v in self._held if isinstance(v, int)}
        for item in self._cache.list("/registry/services/"):
            spec = item.obj.get("spec") or {}
            addresses.update(spec.get("clusterIPs") or [])
            ports.update(p["nodePort"] for p in spec.get("ports") or [] if p.get("nodePort"))
        return addresses, ports

    def assign(self, service: Obj, old: Obj | None) -> list[FieldError]:
        """Fills in what a Service still lacks, in place; faults for what it asks for and cannot have."""
        spec: dict[str, Any] = service.setdefault("spec", {})
        if spec.get("type") == "ExternalName":
            return []
        addresses, ports = self._used()
        before = (old or {}).get("spec") or {}
        found = self._address(spec, addresses - set(before.get("clusterIPs") or []))
        if not found and spec.get("type") in ("NodePort", "LoadBalancer"):
            found = self._ports(spec, ports - {p.get("nodePort") for p in before.get("ports") or []})
        return found

    def _address(self, spec: dict[str, Any], used: set[str]) -> list[FieldError]:
        wanted = spec.get("clusterIP") or (spec.get("clusterIPs") or [""])[0]
        if wanted and wanted != "None":
            try:
                inside = ipaddress.ip_address(wanted) in self.network
            except ValueError:
                text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                return [invalid("spec.clusterIPs[0]", wanted, text)]
            if not inside:
                text = f"failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range."
                text += f" The range of valid IPs is {self.network}"
                return [invalid("spec.clusterIPs", [wanted], text)]
            if wanted in used:
                return [invalid("spec.clusterIPs", [wanted], f"failed to allocate IP {wanted}: provided IP is already allocated")]
        if not wanted:
            wanted = self._free(used)
        if wanted != "None":
            self._held[wanted] = time.monotonic() + HELD_SECONDS
        spec["clusterIP"] = wanted
        spec["clusterIPs"] = [wanted]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        return []

    def _free(self, used: set[str]) -> str:
        first = int(self.network.network_address)
        size = self.network.num_addresses - 2
        while True:
            offset = random.randrange(RESERVED + 1, size)
            address = str(ipaddress.ip_address(first + offset))
            if address not in used:
                return address

    def _ports(self, spec: dict[str, Any], used: set[int]) -> list[FieldError]:
        for position, port in enumerate(spec.get("ports") or []):
            wanted = port.get("nodePort")
            path = f"spec.ports[{position}].nodePort"
            if wanted and wanted not in PORTS:
                return [
                    invalid(
                        path, wanted, f"provided port is not in the valid range. The range of valid ports is {PORTS[0]}-{PORTS[-1]}"
                    )
                ]
            if wanted in used:
                return [invalid(path, wanted, "provided port is already allocated")]
            if not wanted:
                wanted = next(p for p in random.sample(PORTS, len(PORTS)) if p not in used)
            port["nodePort"] = wanted
            used.add(wanted)
            self._held[wanted] = time.monotonic() + HELD_SECONDS
        return []
