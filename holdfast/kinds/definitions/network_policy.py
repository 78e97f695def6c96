"""NetworkPolicy, IPAddress, ServiceCIDR: peers, ports and blocks of addresses."""

from __future__ import annotations

import ipaddress
from typing import Any

from holdfast.kinds.definitions.ingress import NETWORKING
from holdfast.kinds.definitions.overlay import overlay
from holdfast.kinds.definitions.rules import fill, items, one_of, path_segment, port_number, port_number_or_name, subdomain, unsupported
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid, required

CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
TYPES = ("Ingress", "Egress")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(text: str, *, strict: bool = False) -> _Network | None:
    if "/" not in text:
        return None
    try:
        return ipaddress.ip_network(text, strict=strict)
    except ValueError:
        return None


def _policy_defaults(spec: dict[str, Any]) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _port_defaults(port: dict[str, Any]) -> None:
    fill(port, protocol="TCP")


def _check_policy(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for rule, here in items(spec, path, direction):
            for port, there in items(rule, here, "ports"):
                found += _port(port, there)
            for peer, there in items(rule, here, peers):
                found += _peer(peer, there)
    types = spec.get("policyTypes") or []
    if len(types) > len(TYPES):
        return [*found, invalid(child(path, "policyTypes"), types, "may not specify more than two policyTypes")]
    return found + [
        unsupported(index(child(path, "policyTypes"), at), kind, TYPES) for at, kind in enumerate(types) if kind not in TYPES
    ]


def _port(port: dict[str, Any], path: str) -> list[FieldError]:
    found = one_of(child(path, "protocol"), port.get("protocol"), ("TCP", "UDP", "SCTP"))
    first, last, here = port.get("port"), port.get("endPort"), child(path, "endPort")
    if first is None:
        return found if last is None else [*found, invalid(here, last, "may not be specified when `port` is not specified")]
    if isinstance(first, str) and last is not None:
        found.append(invalid(here, last, "may not be specified when `port` is non-numeric"))
    found += port_number_or_name(child(path, "port"), first)
    if isinstance(first, int) and last is not None:
        if last < first:
            found.append(invalid(here, last, "must be greater than or equal to `port`"))
        found += port_number(here, last)
    return found


def _peer(peer: dict[str, Any], path: str) -> list[FieldError]:
    given = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(name) is not None]
    found = _block(peer["ipBlock"], child(path, "ipBlock")) if "ipBlock" in given else []
    if not given:
        found.append(required(path, "must specify a peer"))
    elif len(given) > 1 and "ipBlock" in given:
        found.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return found


def _block(block: dict[str, Any], path: str) -> list[FieldError]:
    text, here = block.get("cidr") or "", child(path, "cidr")
    if not text:
        return [required(here)]
    whole = network(text)
    if whole is None:
        return [invalid(here, text, CIDR_TEXT)]
    found: list[FieldError] = []
    for position, value in enumerate(block.get("except") or []):
        there, part = index(child(path, "except"), position), network(value)
        if part is None:
            found.append(invalid(there, value, CIDR_TEXT))
        elif part.version != whole.version or not part.subnet_of(whole) or part == whole:  # type: ignore[arg-type]
            found.append(invalid(there, value, "must be a strict subset of `cidr`"))
    return found


def _check_address(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    reference, here = spec.get("parentRef"), child(path, "parentRef")
    if not reference:
        return [required(here)]
    found: list[FieldError] = []
    if reference.get("group"):
        found += subdomain(child(here, "group"), reference["group"])
    for name in ("resource", "name"):
        value = reference.get(name) or ""
        found += path_segment(child(here, name), value) if value else [required(child(here, name))]
    if reference.get("namespace"):
        found += path_segment(child(here, "namespace"), reference["namespace"])
    if isinstance(old, dict) and old.get("parentRef") != reference:
        found.append(invalid(here, reference, "field is immutable"))
    return found


def _check_cidrs(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    cidrs, here = spec.get("cidrs") or [], child(path, "cidrs")
    if not cidrs:
        return [required(here, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid(here, cidrs, "may only hold up to 2 values")]
    found: list[FieldError] = []
    parsed = [network(text, strict=True) for text in cidrs]
    for position, (text, one) in enumerate(zip(cidrs, parsed, strict=True)):
        if one is None:
            found.append(invalid(index(here, position), text, CIDR_TEXT))
    if len({one.version for one in parsed if one is not None}) < len([one for one in parsed if one is not None]):
        text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96"
        found.append(invalid(here, cidrs, text))
    if isinstance(old, dict) and (old.get("cidrs") or [])[:1] != cidrs[:1]:
        found.append(invalid(here, cidrs, "field is immutable"))
    return found


overlay(NETWORKING + "NetworkPolicySpec", defaulter=_policy_defaults, checks=(_check_policy,), optional=("podSelector",))
overlay(NETWORKING + "NetworkPolicy", defaults={"spec": {"podSelector": {}}})
overlay(NETWORKING + "NetworkPolicyPort", defaulter=_port_defaults)
overlay(NETWORKING + "IPBlock", optional=("cidr",))
overlay(NETWORKING + "IPAddress", defaults={"spec": {}})
overlay(NETWORKING + "IPAddressSpec", checks=(_check_address,), optional=("parentRef",))
overlay(NETWORKING + "ParentReference", optional=("resource", "name"))
overlay(NETWORKING + "ServiceCIDR", defaults={"spec": {}, "status": {}})
overlay(NETWORKING + "ServiceCIDRSpec", checks=(_check_cidrs,))
