"""What names mean: the DNS specification for Kubernetes (1.1.0) over Services and EndpointSlices. No I/O.

Records are derived at each question from the objects last seen, so an answer is never older than the
watch. A name exists when some type of record exists for it: other types are then answered empty (NODATA),
all other names do not exist (NXDOMAIN); a headless Service without ready endpoints does not exist.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from holdfast.kinds.kind import Obj
from holdfast.lib import dnswire
from holdfast.lib.dnswire import Record

TTL = 1
"""Seconds. Watch-driven records change at any moment; a longer TTL would let caches answer with the dead."""


@dataclass
class Answer:
    """``code`` and records; ``alias`` is an ExternalName target outside the zone, to be resolved elsewhere."""

    code: int = dnswire.NOERROR
    answers: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)
    alias: str = ""


@dataclass(frozen=True)
class _Endpoint:
    """A published endpoint address, its own label and its ports (name, protocol, number)."""

    label: str
    address: str
    ports: tuple[tuple[str, str, int], ...]
    hostname: bool


class Zone:
    def __init__(self, domain: str, dns_address: str, networks: Iterable[str] = ()) -> None:
        self.domain = domain.lower()
        self._suffix = self.domain.split(".")
        self._networks = [ipaddress.ip_network(cidr) for cidr in networks]
        self._dns_address = dns_address
        self._services: dict[tuple[str, str], Obj] = {}
        self._namespaces: dict[str, int] = {}
        self._slices: dict[tuple[str, str], dict[str, Obj]] = {}
        self._slice_owner: dict[tuple[str, str], tuple[str, str]] = {}
        self._reverse: dict[str, list[str]] | None = None

    def set_service(self, namespace: str, name: str, obj: Obj | None) -> None:
        """The newest form of a Service; None when it is gone."""
        self._reverse = None
        known = (namespace, name) in self._services
        if obj is None:
            self._services.pop((namespace, name), None)
        else:
            self._services[(namespace, name)] = obj
        change = (obj is not None) - known
        if change:
            self._namespaces[namespace] = self._namespaces.get(namespace, 0) + change
            if not self._namespaces[namespace]:
                del self._namespaces[namespace]

    def set_slice(self, namespace: str, name: str, obj: Obj | None) -> None:
        """The newest form of an EndpointSlice; None when it is gone."""
        self._reverse = None
        former = self._slice_owner.pop((namespace, name), None)
        if former is not None:
            self._slices[former].pop(name, None)
            if not self._slices[former]:
                del self._slices[former]
        service = ((obj or {}).get("metadata", {}).get("labels") or {}).get("kubernetes.io/service-name")
        if obj is not None and service:
            owner = (namespace, service)
            self._slice_owner[(namespace, name)] = owner
            self._slices.setdefault(owner, {})[name] = obj

    def lookup(self, name: str, type: int) -> Answer | None:
        """The answer to a question in class IN; None when the name is not ours to answer."""
        labels = name.lower().rstrip(".").split(".")
        if labels[-2:] == ["in-addr", "arpa"]:
            return self._lookup_reverse(name, labels, type)
        size = len(self._suffix)
        if labels[-size:] != self._suffix:
            return None
        return self._lookup_own(name, labels[:-size], type)

    def soa(self) -> Record:
        data = (f"ns.dns.{self.domain}", f"hostmaster.{self.domain}", 1, 7200, 1800, 86400, TTL)
        return Record(self.domain, dnswire.SOA, TTL, data)

    def _lookup_own(self, name: str, labels: list[str], type: int) -> Answer:
        records: list[Record] | None = None
        if not labels:
            records = [self.soa(), Record(name, dnswire.NS, TTL, f"ns.dns.{self.domain}")]
        elif labels == ["dns-version"]:
            records = [Record(name, dnswire.TXT, TTL, "1.1.0")]
        elif labels == ["ns", "dns"]:
            records = [Record(name, dnswire.A, TTL, self._dns_address)]
        elif labels == ["dns"] or labels == ["svc"] or (len(labels) == 2 and labels[1] == "svc" and labels[0] in self._namespaces):
            records = []
        elif len(labels) >= 3 and labels[-1] == "svc":
            return self._lookup_service(name, labels[:-3], labels[-3], labels[-2], type)
        return self._pick(records, type)

    @staticmethod
    def _pick(records: list[Record] | None, type: int) -> Answer:
        if records is None:
            return Answer(dnswire.NXDOMAIN)
        return Answer(answers=[record for record in records if type in (record.type, dnswire.ANY)])

    def _lookup_service(self, name: str, labels: list[str], service: str, namespace: str, type: int) -> Answer:
        obj = self._services.get((namespace, service))
        if obj is None:
            return Answer(dnswire.NXDOMAIN)
        spec = obj.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return self._external(name, labels, str(spec.get("externalName") or ""), type)
        endpoints = list(self._endpoints(obj))
        headless = spec.get("clusterIP") == "None"
        if headless and not endpoints:
            return Answer(dnswire.NXDOMAIN)
        base = f"{service}.{namespace}.svc.{self.domain}"
        if not labels:
            addresses = [e.address for e in endpoints] if headless else _cluster_ips(spec)
            return self._pick([*self._addresses(name, addresses), *self._services_of(name, base, spec, endpoints, headless)], type)
        if labels[-1].startswith("_"):
            return self._lookup_port(name, labels, base, spec, endpoints, headless, type)
        own = [e.address for e in endpoints if e.label == labels[0]] if len(labels) == 1 else []
        return self._pick(self._addresses(name, own) if own else None, type)

    def _external(self, name: str, labels: list[str], target: str, type: int) -> Answer:
        if labels or not target:
            return Answer(dnswire.NXDOMAIN)
        target = target.rstrip(".")
        answer = Answer(answers=[Record(name, dnswire.CNAME, TTL, target)])
        if type in (dnswire.CNAME, dnswire.ANY):
            return answer
        if target.lower().endswith("." + self.domain):
            if target.lower() != name.lower():
                further = self._lookup_own(target, target.lower().split(".")[: -len(self._suffix)], type)
                answer.answers += [record for record in further.answers if record.type != dnswire.CNAME]
        else:
            answer.alias = target
        return answer

    def _lookup_port(
        self, name: str, labels: list[str], base: str, spec: Obj, endpoints: list[_Endpoint], headless: bool, type: int
    ) -> Answer:
        """``_port._protocol`` and its parent ``_protocol``."""
        records: list[Record] = []
        for record, port, protocol in self._port_records(name, base, spec, endpoints, headless):
            if labels[-1] == f"_{protocol}" and (len(labels) == 1 or (len(labels) == 2 and labels[0] == f"_{port}")):
                records.append(record)
        if not records:
            return Answer(dnswire.NXDOMAIN)
        answer = self._pick(records if len(labels) == 2 else [], type)
        answer.additional = self._targets(answer.answers, base, spec, endpoints, headless)
        return answer

    def _services_of(self, name: str, base: str, spec: Obj, endpoints: list[_Endpoint], headless: bool) -> list[Record]:
        """SRV of all named ports, at the Service's own name."""
        return [record for record, _, _ in self._port_records(name, base, spec, endpoints, headless)]

    @staticmethod
    def _port_records(name: str, base: str, spec: Obj, endpoints: list[_Endpoint], headless: bool) -> Iterator[tuple[Record, str, str]]:
        """(SRV record, port name, protocol) of each named port."""
        if not headless:
            ports = [(p.get("name") or "", (p.get("protocol") or "TCP").lower(), p["port"]) for p in spec.get("ports") or ()]
            for port, protocol, number in ports:
                if port:
                    yield Record(name, dnswire.SRV, TTL, (0, 100, number, base)), port, protocol
            return
        weight = max(1, 100 // max(1, len(endpoints)))
        seen = set()
        for endpoint in endpoints:
            for port, protocol, number in endpoint.ports:
                key = (endpoint.label, port, protocol, number)
                if port and key not in seen:
                    seen.add(key)
                    yield Record(name, dnswire.SRV, TTL, (0, weight, number, f"{endpoint.label}.{base}")), port, protocol

    def _targets(self, answers: list[Record], base: str, spec: Obj, endpoints: list[_Endpoint], headless: bool) -> list[Record]:
        if not any(record.type == dnswire.SRV for record in answers):
            return []
        if not headless:
            return self._addresses(base, _cluster_ips(spec))
        return [record for e in endpoints for record in self._addresses(f"{e.label}.{base}", [e.address])]

    @staticmethod
    def _addresses(name: str, addresses: Iterable[str]) -> list[Record]:
        return [Record(name, dnswire.AAAA if ":" in address else dnswire.A, TTL, address) for address in dict.fromkeys(addresses)]

    def _endpoints(self, service: Obj) -> Iterator[_Endpoint]:
        metadata, spec = service["metadata"], service.get("spec") or {}
        every = bool(spec.get("publishNotReadyAddresses"))
        for piece in self._slices.get((metadata.get("namespace", ""), metadata["name"]), {}).values():
            if piece.get("addressType") == "FQDN":
                continue
            ports = tuple(
                ((p.get("name") or "").lower(), (p.get("protocol") or "TCP").lower(), p["port"])
                for p in piece.get("ports") or ()
                if p.get("port")
            )
            for endpoint in piece.get("endpoints") or ():
                if not every and (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                hostname = str(endpoint.get("hostname") or "").lower()
                for address in endpoint.get("addresses") or ():
                    label = hostname or address.replace(".", "-").replace(":", "-")
                    yield _Endpoint(label, address, ports, bool(hostname))

    def _lookup_reverse(self, name: str, labels: list[str], type: int) -> Answer | None:
        try:
            address = ipaddress.IPv4Address(".".join(reversed(labels[:-2])))
        except ValueError:
            return None
        if self._reverse is None:
            self._reverse = self._build_reverse()
        targets = self._reverse.get(str(address))
        if targets is None:
            return Answer(dnswire.NXDOMAIN) if any(address in network for network in self._networks) else None
        return self._pick([Record(name, dnswire.PTR, TTL, target) for target in targets], type)

    def _build_reverse(self) -> dict[str, list[str]]:
        reverse: dict[str, list[str]] = {}
        for (namespace, name), service in self._services.items():
            base = f"{name}.{namespace}.svc.{self.domain}"
            for address in _cluster_ips(service.get("spec") or {}):
                reverse.setdefault(address, []).append(base)
            for endpoint in self._endpoints(service):
                if endpoint.hostname:
                    reverse.setdefault(endpoint.address, []).append(f"{endpoint.label}.{base}")
        return {address: sorted(set(names)) for address, names in reverse.items()}


def _cluster_ips(spec: Obj) -> list[str]:
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [str(address) for address in addresses if address and address != "None"]
