"""Names by the DNS specification for Kubernetes: which exist, what they answer, and that answers follow at once."""

from __future__ import annotations

from typing import Any

from holdfast.lib import dnswire
from holdfast.node.nameserver import Zone


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"name": "http", "port": 80}], **spec}}


def endpoint(ip: str, hostname: str = "", ready: bool | None = True) -> dict[str, Any]:
    out: dict[str, Any] = {"addresses": [ip], "conditions": {"ready": ready}}
    return {**out, "hostname": hostname} if hostname else out


def make_zone(*endpoints: dict[str, Any], **spec: Any) -> Zone:
    zone = Zone("cluster.local", "10.96.0.10", ("10.244.0.0/16", "10.96.0.0/12"))
    zone.set_service("default", "nginx", service("nginx", **spec))
    fill(zone, *endpoints)
    return zone


def fill(zone: Zone, *endpoints: dict[str, Any]) -> None:
    metadata = {"name": "nginx-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "nginx"}}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    zone.set_slice("default", "nginx-x", {"metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": list(endpoints)})


def ask(zone: Zone, name: str, type: int = dnswire.A) -> tuple[int, list[Any]]:
    answer = zone.lookup(name, type)
    assert answer is not None
    return answer.code, [record.data for record in answer.answers]


HEADLESS = {"clusterIP": "None"}
BASE = "nginx.default.svc.cluster.local"


def test_members_by_name() -> None:
    zone = make_zone(endpoint("10.244.0.5", "web-0"), endpoint("10.244.0.6", "web-1"), **HEADLESS)
    assert ask(zone, f"web-0.{BASE}") == (0, ["10.244.0.5"])
    assert ask(zone, f"WEB-1.{BASE.upper()}.") == (0, ["10.244.0.6"])
    assert ask(zone, f"web-2.{BASE}") == (dnswire.NXDOMAIN, [])
    assert ask(zone, f"web-0.{BASE}", dnswire.AAAA) == (0, [])
    assert ask(zone, BASE) == (0, ["10.244.0.5", "10.244.0.6"])


def test_r49_a_recreated_member_is_answered_with_its_new_address_at_once() -> None:
    zone = make_zone(endpoint("10.244.0.5", "web-0"), **HEADLESS)
    fill(zone, endpoint("10.244.0.9", "web-0"))
    assert ask(zone, f"web-0.{BASE}") == (0, ["10.244.0.9"])
    assert ask(zone, "9.0.244.10.in-addr.arpa", dnswire.PTR) == (0, [f"web-0.{BASE}"])
    assert ask(zone, "5.0.244.10.in-addr.arpa", dnswire.PTR) == (dnswire.NXDOMAIN, [])


def test_r49_only_ready_ones_are_published() -> None:
    zone = make_zone(endpoint("10.244.0.5", "web-0", ready=False), **HEADLESS)
    assert ask(zone, f"web-0.{BASE}") == (dnswire.NXDOMAIN, [])
    assert ask(zone, BASE) == (dnswire.NXDOMAIN, [])
    zone.set_service("default", "nginx", service("nginx", publishNotReadyAddresses=True, **HEADLESS))
    assert ask(zone, f"web-0.{BASE}") == (0, ["10.244.0.5"])


def test_r49_members_of_a_service_with_an_address_have_names_too() -> None:
    """As CoreDNS answers (kubernetes#66234); the service's own name is its address. Specified they are of headless ones only."""
    zone = make_zone(endpoint("10.244.0.5", "web-0"), clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"])
    assert ask(zone, f"web-0.{BASE}") == (0, ["10.244.0.5"])
    assert ask(zone, BASE) == (0, ["10.96.0.7"])


def test_vip() -> None:
    zone = make_zone(clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"])
    assert ask(zone, BASE) == (0, ["10.96.0.7"])
    assert ask(zone, BASE, dnswire.AAAA) == (0, [])
    assert ask(zone, "7.0.96.10.in-addr.arpa", dnswire.PTR) == (0, [BASE])
    assert ask(zone, f"_http._tcp.{BASE}", dnswire.SRV) == (0, [(0, 100, 80, BASE)])
    assert ask(zone, f"_tcp.{BASE}", dnswire.SRV) == (0, [])
    assert ask(zone, f"_ftp._tcp.{BASE}", dnswire.SRV) == (dnswire.NXDOMAIN, [])


def test_srv_of_members_carries_their_addresses() -> None:
    zone = make_zone(endpoint("10.244.0.5", "web-0"), endpoint("10.244.0.6"), **HEADLESS)
    answer = zone.lookup(f"_http._tcp.{BASE}", dnswire.SRV)
    assert answer is not None
    assert [r.data for r in answer.answers] == [(0, 50, 8080, f"web-0.{BASE}"), (0, 50, 8080, f"10-244-0-6.{BASE}")]
    assert {(r.name, r.data) for r in answer.additional} == {(f"web-0.{BASE}", "10.244.0.5"), (f"10-244-0-6.{BASE}", "10.244.0.6")}


def test_other_names() -> None:
    zone = make_zone(**HEADLESS)
    assert ask(zone, "dns-version.cluster.local", dnswire.TXT) == (0, ["1.1.0"])
    assert ask(zone, "default.svc.cluster.local") == (0, [])
    assert ask(zone, "nowhere.svc.cluster.local") == (dnswire.NXDOMAIN, [])
    assert zone.lookup("example.com", dnswire.A) is None
    assert zone.lookup("notcluster.local", dnswire.A) is None
    assert zone.lookup("1.2.0.192.in-addr.arpa", dnswire.PTR) is None
    assert ask(zone, "1.0.244.10.in-addr.arpa", dnswire.PTR) == (dnswire.NXDOMAIN, [])


def test_external_name() -> None:
    zone = make_zone(type="ExternalName", externalName="db.example.com")
    answer = zone.lookup(BASE, dnswire.A)
    assert answer is not None
    assert (answer.alias, [r.data for r in answer.answers]) == ("db.example.com", ["db.example.com"])
    zone.set_service("default", "nginx", None)
    assert ask(zone, BASE) == (dnswire.NXDOMAIN, [])
    assert ask(zone, "default.svc.cluster.local") == (dnswire.NXDOMAIN, [])
