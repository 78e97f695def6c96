"""Services: types, ports, affinity. Addresses and node ports are allocated by the registry."""

from __future__ import annotations

import ipaddress
from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import (
    IP_TEXT,
    endpoint_ip,
    fill,
    fill_absent,
    items,
    label,
    labels,
    one_of,
    port_number,
    port_number_or_name,
    subdomain,
)
from holdfast.machinery.fielderror import FieldError, child, duplicate, forbidden, index, invalid, required

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def _service_defaults(service: dict[str, Any]) -> None:
    fill_absent(service, spec={}, status={})
    fill_absent(service["status"], loadBalancer={})


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        fill_absent(spec, sessionAffinityConfig={})
        config = spec["sessionAffinityConfig"]
        fill_absent(config, clientIP={})
        fill_absent(config["clientIP"], timeoutSeconds=10800)
    for port in spec.get("ports") or []:
        fill(port, protocol="TCP")
        fill(port, targetPort=port.get("port"))
    exposed = spec["type"] in ("NodePort", "LoadBalancer")
    if exposed or (spec.get("externalIPs") and spec["type"] == "ClusterIP"):
        fill(spec, externalTrafficPolicy="Cluster")
    elif spec["type"] == "ClusterIP":
        spec.pop("externalTrafficPolicy", None)
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
        fill_absent(spec, internalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        fill_absent(spec, allocateLoadBalancerNodePorts=True)


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    kind = spec.get("type")
    headless = spec.get("clusterIP") == "None"
    found: list[FieldError] = []
    if not spec.get("ports") and not headless and kind != "ExternalName":
        found.append(required(child(path, "ports")))
    found += _check_ports(spec, path)
    found += labels(child(path, "selector"), spec.get("selector"))
    found += one_of(child(path, "sessionAffinity"), spec.get("sessionAffinity"), ("ClientIP", "None"))
    found += one_of(child(path, "type"), kind, TYPES)
    found += one_of(child(path, "externalTrafficPolicy"), spec.get("externalTrafficPolicy"), ("Cluster", "Local"))
    found += one_of(child(path, "internalTrafficPolicy"), spec.get("internalTrafficPolicy"), ("Cluster", "Local"))
    found += _check_affinity(spec, path)
    for position, address in enumerate(spec.get("externalIPs") or []):
        found += endpoint_ip(index(child(path, "externalIPs"), position), address)
    if kind == "ExternalName":
        found += _check_external_name(spec, path)
    else:
        found += _check_cluster_ips(spec, path)
    if kind == "LoadBalancer" and headless:
        found.append(invalid(child(path, "clusterIPs[0]"), "None", "may not be set to 'None' for LoadBalancer services"))
    if kind == "NodePort" and headless:
        found.append(invalid(child(path, "clusterIPs[0]"), "None", "may not be set to 'None' for NodePort services"))
    return found


def _check_external_name(spec: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.get("clusterIP") or spec.get("clusterIPs"):
        found.append(forbidden(child(path, "clusterIPs"), "may not be set for ExternalName services"))
    name = str(spec.get("externalName") or "").removesuffix(".")
    if not name:
        found.append(required(child(path, "externalName")))
    else:
        found += subdomain(child(path, "externalName"), name)
    return found


def _check_cluster_ips(spec: dict[str, Any], path: str) -> list[FieldError]:
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    found: list[FieldError] = []
    for position, address in enumerate(addresses):
        here = index(child(path, "clusterIPs"), position)
        if address == "None":
            if len(addresses) > 1:
                found.append(invalid(child(path, "clusterIPs"), addresses, "'None' must be the first and only value"))
            continue
        try:
            ipaddress.ip_address(address)
        except ValueError:
            found.append(invalid(here, address, IP_TEXT))
    if spec.get("clusterIP") and spec.get("clusterIPs") and spec["clusterIP"] != spec["clusterIPs"][0]:
        found.append(invalid(child(path, "clusterIPs"), addresses, "first value must match `clusterIP`"))
    return found


def _check_affinity(spec: dict[str, Any], path: str) -> list[FieldError]:
    seconds = (((spec.get("sessionAffinityConfig") or {}).get("clientIP")) or {}).get("timeoutSeconds")
    if spec.get("sessionAffinity") != "ClientIP" or seconds is None or 0 < seconds <= 86400:
        return []
    here = child(path, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
    return [invalid(here, seconds, "must be greater than 0 and less than 86400")]


def _check_ports(spec: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    several = len(spec.get("ports") or []) > 1
    seen_names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for port, here in items(spec, path, "ports"):
        name = port.get("name")
        if name:
            found += label(child(here, "name"), name)
            if name in seen_names:
                found.append(duplicate(child(here, "name"), name))
            seen_names.add(name)
        elif several:
            found.append(required(child(here, "name")))
        found += port_number(child(here, "port"), port.get("port", 0))
        found += one_of(child(here, "protocol"), port.get("protocol"), ("SCTP", "TCP", "UDP"))
        if port.get("targetPort") is not None:
            found += port_number_or_name(child(here, "targetPort"), port["targetPort"])
        if port.get("nodePort") and spec.get("type") in ("ClusterIP", "ExternalName"):
            found.append(forbidden(child(here, "nodePort"), f"may not be used when `type` is '{spec['type']}'"))
        identity = (port.get("protocol"), port.get("port"))
        if identity in seen:
            shown = {"Name": "", "Protocol": identity[0], "AppProtocol": None, "Port": identity[1], "TargetPort": 0, "NodePort": 0}
            found.append(duplicate(here, shown))
        seen.add(identity)
    return found


overlay(CORE + "Service", defaulter=_service_defaults)
overlay(CORE + "ServicePort", defaults={"protocol": "TCP"}, optional=("port",))
overlay(CORE + "ServiceSpec", defaulter=_spec_defaults, checks=(_check_spec,))
