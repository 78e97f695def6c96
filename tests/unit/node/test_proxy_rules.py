"""Which endpoints a Service port leads to, and that the transaction names each chain it uses."""

from __future__ import annotations

import re
from typing import Any

from holdfast.node.proxy import render, service_ports

CIDR = "10.96.0.0/12"


def service(name: str = "web", ip: str = "10.96.0.7", **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec}}


def piece(*endpoints: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "web-a", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}}
    return {"metadata": metadata, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": list(endpoints)}


def endpoint(ip: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [ip], "conditions": conditions}


def test_only_ready_endpoints() -> None:
    slices = [piece(endpoint("10.244.0.2", ready=True), endpoint("10.244.0.3", ready=False), endpoint("10.244.0.4"))]
    (port,) = service_ports([service()], slices)
    assert port.endpoints == (("10.244.0.2", 8080), ("10.244.0.4", 8080))


def test_the_last_terminating_ones_serve_on() -> None:
    slices = [piece(endpoint("10.244.0.2", ready=False, serving=True, terminating=True))]
    assert service_ports([service()], slices)[0].endpoints == (("10.244.0.2", 8080),)


def test_headless_and_external_names_have_no_rules() -> None:
    assert service_ports([service(ip="None"), service(type="ExternalName")], []) == []


def test_without_endpoints_only_the_refusal_is_left() -> None:
    text, names = render(service_ports([service()], []), CIDR)
    assert not names
    assert "dnat" not in text
    assert f"refuse ip daddr {{ {CIDR} }} meta l4proto tcp reject with tcp reset" in text


def test_every_chain_is_added_before_it_is_named_and_stale_ones_go() -> None:
    slices = [piece(endpoint("10.244.0.2"), endpoint("10.244.0.3"))]
    text, names = render(service_ports([service(sessionAffinity="ClientIP")], slices), CIDR, {"chain svc-0000000000000000"})
    lines = text.splitlines()
    assert "delete chain ip holdfast_services svc-0000000000000000" in lines
    for target in set(re.findall(r"goto (\S+?)[ ,]", text)):
        added = next(i for i, line in enumerate(lines) if line == f"add chain ip holdfast_services {target}")
        assert added < next(i for i, line in enumerate(lines) if f"goto {target}" in line)
    assert {name.split()[0] for name in names} == {"chain", "set"}
    assert "timeout 10800s" in text
