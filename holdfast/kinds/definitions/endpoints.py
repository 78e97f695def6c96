"""Endpoints and EndpointSlices: the addresses behind a Service."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import endpoint_ip, fill, fill_absent, ip, label, one_of, port_number, unsupported
from holdfast.machinery.fielderror import FieldError, child, index, invalid, required

DISCOVERY = "io.k8s.api.discovery.v1."
ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
PROTOCOLS = ("SCTP", "TCP", "UDP")


def _core_port_defaults(port: dict[str, Any]) -> None:
    fill(port, protocol="TCP")


def _check_core_port(port: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = label(child(path, "name"), port["name"]) if port.get("name") else []
    found += port_number(child(path, "port"), port.get("port", 0))
    return found + one_of(child(path, "protocol"), port.get("protocol"), PROTOCOLS)


def _check_core_address(address: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    here, value = child(path, "ip"), address.get("ip") or ""
    # Upstream asks twice whether it is an address at all, in two wordings.
    twice = [invalid(here, value, "must be a valid IP address")] if ip(here, value) else []
    return endpoint_ip(here, value) + twice


def _check_subset(subset: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if not subset.get("addresses") and not subset.get("notReadyAddresses"):
        found.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
    if len(subset.get("ports") or []) > 1:
        for position, port in enumerate(subset["ports"]):
            if not port.get("name"):
                found.append(required(child(index(child(path, "ports"), position), "name")))
    return found


def _slice_port_defaults(port: dict[str, Any]) -> None:
    fill_absent(port, name="", protocol="TCP")


def _endpoint_defaults(endpoint: dict[str, Any]) -> None:
    fill_absent(endpoint, conditions={})


def _check_slice_port(port: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = label(child(path, "name"), port["name"]) if port.get("name") else []
    if port.get("port") is not None:
        found += port_number(child(path, "port"), port["port"])
    return found + one_of(child(path, "protocol"), port.get("protocol"), PROTOCOLS)


def _check_slice(obj: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    kind = obj.get("addressType")
    found = [] if not kind or kind in ADDRESS_TYPES else [unsupported(child(path, "addressType"), kind, ADDRESS_TYPES)]
    for position, endpoint in enumerate(obj.get("endpoints") or []):
        here = child(index(child(path, "endpoints"), position), "addresses")
        addresses = endpoint.get("addresses") or []
        if not addresses:
            found.append(required(here, "must contain at least 1 address"))
        elif kind in ("IPv4", "IPv6"):
            for place, address in enumerate(addresses):
                found += ip(index(here, place), address) or endpoint_ip(index(here, place), address)
    return found


overlay(CORE + "EndpointPort", defaulter=_core_port_defaults, checks=(_check_core_port,), optional=("port",))
overlay(CORE + "EndpointAddress", checks=(_check_core_address,), optional=("ip",))
overlay(CORE + "EndpointSubset", checks=(_check_subset,))
overlay(DISCOVERY + "EndpointPort", defaulter=_slice_port_defaults, checks=(_check_slice_port,))
overlay(DISCOVERY + "Endpoint", defaulter=_endpoint_defaults, optional=("addresses",))
overlay(DISCOVERY + "EndpointSlice", checks=(_check_slice,))
