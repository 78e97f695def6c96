"""NetworkPolicySpec: who may talk to the pods it selects, and to whom they may talk."""

from __future__ import annotations

import ipaddress
from typing import Any

from holdfast.kinds.definitions.overlay import NETWORKING, overlay
from holdfast.kinds.definitions.rules import cidr, items, one_of, port_name_texts, port_number
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid, required

_TYPES = ("Ingress", "Egress")
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def _spec_defaults(spec: dict[str, Any]) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for side, peers in (("ingress", "from"), ("egress", "to")):
        for rule, here in items(spec, path, side):
            for port, place in items(rule, here, "ports"):
                found += _check_port(port, place)
            for peer, place in items(rule, here, peers):
                found += _check_peer(peer, place)
    kinds, here = spec.get("policyTypes") or [], child(path, "policyTypes")
    if len(kinds) > len(_TYPES):
        return [*found, invalid(here, kinds, "may not specify more than two policyTypes")]
    return found + [error for at, kind in enumerate(kinds) for error in one_of(index(here, at), kind, _TYPES)]


def _check_port(port: dict[str, Any], path: str) -> list[FieldError]:
    number, last, here = port.get("port"), port.get("endPort"), child(path, "endPort")
    found = one_of(child(path, "protocol"), port.get("protocol"), _PROTOCOLS)
    if number is None:
        return found if last is None else [*found, invalid(here, last, "may not be specified when `port` is not specified")]
    if not isinstance(number, int):
        if last is not None:
            found.append(invalid(here, last, "may not be specified when `port` is non-numeric"))
        return found + [invalid(child(path, "port"), number, text) for text in port_name_texts(str(number))]
    found += port_number(child(path, "port"), number)
    if last is not None:
        if last < number:
            found.append(invalid(here, last, "must be greater than or equal to `port`"))
        found += port_number(here, last)
    return found


def _check_peer(peer: dict[str, Any], path: str) -> list[FieldError]:
    given = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(name) is not None]
    found = _check_block(peer["ipBlock"], child(path, "ipBlock")) if "ipBlock" in given else []
    if not given:
        found.append(required(path, "must specify a peer"))
    elif len(given) > 1 and "ipBlock" in given:
        found.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return found


def _check_block(block: dict[str, Any], path: str) -> list[FieldError]:
    whole = block.get("cidr") or ""
    if not whole:
        return [required(child(path, "cidr"))]
    found = cidr(child(path, "cidr"), whole)
    if found:
        return found
    network = ipaddress.ip_network(whole, strict=False)
    for at, text in enumerate(block.get("except") or []):
        here = index(child(path, "except"), at)
        faults = cidr(here, text)
        if not faults:
            part = ipaddress.ip_network(text, strict=False)
            within = part.version == network.version and part.network_address in network and part.prefixlen > network.prefixlen
            faults = [] if within else [invalid(here, text, "must be a strict subset of `cidr`")]
        found += faults
    return found


overlay(NETWORKING + "NetworkPolicy", defaults={"spec": {}})
overlay(NETWORKING + "NetworkPolicySpec", defaults={"podSelector": {}}, defaulter=_spec_defaults, checks=(_check_spec,))
overlay(NETWORKING + "NetworkPolicyPort", defaults={"protocol": "TCP"})
overlay(NETWORKING + "IPBlock", optional=("cidr",))
