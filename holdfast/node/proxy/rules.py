"""From Services and EndpointSlices to one nftables transaction; pure.

A map from (protocol, address, port) leads to a chain per service port, which picks an endpoint at random
(or the one this client had, by a set that forgets) and translates. What is still addressed to a Service
after that has no endpoint and is refused at once instead of timing out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.kinds.kind import Obj

TABLE = "holdfast_services"
_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


@dataclass(frozen=True)
class ServicePort:
    """One port of a Service's address and the endpoints it leads to, as (ip, port)."""

    service: str
    protocol: str
    address: str
    port: int
    endpoints: tuple[tuple[str, int], ...]
    affinity_seconds: int = 0

    @property
    def chain(self) -> str:
        return "svc-" + _short(f"{self.service} {self.protocol} {self.address} {self.port}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def service_ports(services: Iterable[Obj], slices: Iterable[Obj]) -> list[ServicePort]:
    by_service: dict[tuple[str, str], list[Obj]] = {}
    for piece in slices:
        metadata = piece["metadata"]
        name = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
        if name and piece.get("addressType", "IPv4") == "IPv4":
            by_service.setdefault((metadata.get("namespace", ""), name), []).append(piece)
    out: list[ServicePort] = []
    for service in services:
        out += _ports_of(service, by_service)
    return sorted(out, key=lambda port: (port.address, port.port, port.protocol, port.service))


def _ports_of(service: Obj, by_service: dict[tuple[str, str], list[Obj]]) -> list[ServicePort]:
    metadata, spec = service["metadata"], service.get("spec") or {}
    addresses = [ip for ip in [*(spec.get("clusterIPs") or [spec.get("clusterIP")]), *(spec.get("externalIPs") or [])] if _is_ipv4(ip)]
    if spec.get("type") == "ExternalName" or not addresses:
        return []
    key = (metadata.get("namespace", ""), metadata["name"])
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = int(config.get("timeoutSeconds") or 10800)
    out = []
    for port in spec.get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        endpoints = _endpoints(by_service.get(key, ()), port.get("name") or "", protocol)
        out += [
            ServicePort("/".join(key), _PROTOCOLS[protocol], ip, port["port"], endpoints, affinity) for ip in dict.fromkeys(addresses)
        ]
    return out


def _endpoints(slices: Iterable[Obj], name: str, protocol: str) -> tuple[tuple[str, int], ...]:
    """Ready ones; when there is none, those that still serve while they terminate (as kube-proxy does)."""
    ready: set[tuple[str, int]] = set()
    terminating: set[tuple[str, int]] = set()
    for piece in slices:
        for port in piece.get("ports") or ():
            if (port.get("name") or "") != name or (port.get("protocol") or "TCP") != protocol or not port.get("port"):
                continue
            for endpoint in piece.get("endpoints") or ():
                conditions = endpoint.get("conditions") or {}
                addresses = {(ip, port["port"]) for ip in endpoint.get("addresses") or () if _is_ipv4(ip)}
                if conditions.get("ready") is not False:
                    ready |= addresses
                elif conditions.get("serving") and conditions.get("terminating"):
                    terminating |= addresses
    return tuple(sorted(ready or terminating))


def _is_ipv4(text: object) -> bool:
    try:
        return isinstance(text, str) and ipaddress.ip_address(text).version == 4
    except ValueError:
        return False


def render(ports: Sequence[ServicePort], service_cidr: str, stale: Iterable[str] = ()) -> tuple[str, set[str]]:
    """The transaction that makes the table hold exactly ``ports``, and the names it holds after it.

    ``stale`` names what an earlier table held (``chain NAME``, ``set NAME``): whatever is no longer
    wanted is deleted. Sets that stay keep their clients.
    """
    chains: list[str] = []
    rules: list[str] = []
    sets: dict[str, int] = {}
    targets: dict[str, str] = {}
    for port in ports:
        key = f"{port.protocol} . {port.address} . {port.port}"
        if not port.endpoints or key in targets:
            continue
        targets[key] = port.chain
        chains.append(port.chain)
        endpoints = [(f"ep-{_short(f'{port.chain} {ip} {number}')}", ip, number) for ip, number in port.endpoints]
        for name, ip, number in endpoints:
            chains.append(name)
            rules.append(f"add rule ip {TABLE} {name} ip saddr {ip} meta mark set meta mark or 0x4000")
            if port.affinity_seconds:
                clients = name.replace("ep-", "af-")
                sets[clients] = port.affinity_seconds
                rules.append(f"add rule ip {TABLE} {port.chain} ip saddr @{clients} goto {name}")
                rules.append(f"add rule ip {TABLE} {name} update @{clients} {{ ip saddr timeout {port.affinity_seconds}s }}")
            rules.append(f"add rule ip {TABLE} {name} {port.protocol} dport {port.port} dnat to {ip}:{number}")
        choice = ", ".join(f"{i} : goto {name}" for i, (name, _, _) in enumerate(endpoints))
        rules.append(f"add rule ip {TABLE} {port.chain} numgen random mod {len(endpoints)} vmap {{ {choice} }}")
    if targets:
        entries = ", ".join(f"{key} : goto {chain}" for key, chain in targets.items())
        rules.append(f"add rule ip {TABLE} services meta l4proto . ip daddr . th dport vmap {{ {entries} }}")
    wanted = {f"chain {name}" for name in chains} | {f"set {name}" for name in sets}
    lines = [f"add table ip {TABLE}", *_base(), *(f"add chain ip {TABLE} {name}" for name in chains), f"flush table ip {TABLE}"]
    lines += [f"delete {item.split()[0]} ip {TABLE} {item.split()[1]}" for item in sorted(set(stale) - wanted)]
    lines += [
        f"add set ip {TABLE} {name} {{ type ipv4_addr; flags dynamic,timeout; size 65535; timeout {seconds}s; }}"
        for name, seconds in sets.items()
    ]
    refused = sorted({service_cidr, *(f"{p.address}/32" for p in ports if not _inside(p.address, service_cidr))})
    return "\n".join([*lines, *rules, *_fixed(refused)]) + "\n", wanted


def _inside(ip: str, cidr: str) -> bool:
    return ipaddress.ip_address(ip) in ipaddress.ip_network(cidr)


def _base() -> list[str]:
    hooks = {
        "prerouting": "type nat hook prerouting priority -100;",
        "output": "type nat hook output priority -100;",
        "postrouting": "type nat hook postrouting priority 100;",
        "refuse": "type filter hook forward priority 0;",
        "refuse-own": "type filter hook output priority 0;",
    }
    return [f"add chain ip {TABLE} services", *(f"add chain ip {TABLE} {name} {{ {hook} }}" for name, hook in hooks.items())]


def _fixed(refused: Sequence[str]) -> list[str]:
    lines = [f"add rule ip {TABLE} prerouting jump services", f"add rule ip {TABLE} output jump services"]
    # a pod that reaches itself through a Service would see its own address as the peer
    lines.append(f"add rule ip {TABLE} postrouting meta mark and 0x4000 == 0x4000 masquerade")
    targets = "{ " + ", ".join(refused) + " }"
    for chain in ("refuse", "refuse-own"):
        skip = ' oifname != "lo"' if chain == "refuse-own" else ""
        lines.append(f"add rule ip {TABLE} {chain}{skip} ip daddr {targets} meta l4proto tcp reject with tcp reset")
        lines.append(f"add rule ip {TABLE} {chain}{skip} ip daddr {targets} reject with icmp type port-unreachable")
    return lines


CHAIN_NAME = re.compile(r"^(svc|ep|af)-[0-9a-f]{16}$")
"""Names of ours that come and go."""
