"""IPAddress and ServiceCIDR: the address space of Services, as objects."""

from __future__ import annotations

import ipaddress
from typing import Any

from holdfast.kinds.definitions.overlay import NETWORKING, overlay
from holdfast.kinds.definitions.rules import canonical_cidr, path_segment, subdomain
from holdfast.machinery.fielderror import FieldError, child, index, invalid, required

_ONE_EACH = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"


def _check_parent(reference: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = subdomain(child(path, "group"), reference["group"]) if reference.get("group") else []
    given = [name for name in ("resource", "name", "namespace") if reference.get(name)]
    return found + [error for name in given for error in path_segment(child(path, name), reference[name])]


def _check_ranges(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    ranges, here = spec.get("cidrs") or [], child(path, "cidrs")
    if not ranges:
        return [required(here, "at least one CIDR required")]
    if len(ranges) > 2:
        return [invalid(here, {"CIDRs": ranges}, "may only hold up to 2 values")]
    found = [error for at, text in enumerate(ranges) for error in canonical_cidr(index(here, at), text)]
    if not found and len({ipaddress.ip_network(text).version for text in ranges}) < len(ranges):
        found.append(invalid(here, ranges, _ONE_EACH))
    return found


overlay(NETWORKING + "ParentReference", checks=(_check_parent,))
overlay(NETWORKING + "ServiceCIDR", defaults={"spec": {}, "status": {}})
overlay(NETWORKING + "ServiceCIDRSpec", checks=(_check_ranges,))
