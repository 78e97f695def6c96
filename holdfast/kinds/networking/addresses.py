"""IPAddress and ServiceCIDR: which addresses Services may have, and who has which."""

from __future__ import annotations

import ipaddress

from holdfast.kinds.apps.replicas import STATUS
from holdfast.kinds.columns import AGE, NAME
from holdfast.kinds.definitions.ingress import NETWORKING
from holdfast.kinds.definitions.rules import IP_TEXT
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import IPADDRESSES, SERVICECIDRS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, invalid


def _check_name(name: str, path: str) -> list[FieldError]:
    try:
        canonical = str(ipaddress.ip_address(name))
    except ValueError:
        return [invalid(path, name, IP_TEXT)]
    return [] if canonical == name else [invalid(path, name, f'must be in canonical form ("{canonical}")')]


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {}


def _parent(obj: Obj, _now: float) -> str:
    parent = obj["spec"].get("parentRef") or {}
    qualified = f"{parent.get('resource', '')}.{parent['group']}" if parent.get("group") else parent.get("resource", "")
    return "/".join(part for part in (qualified, parent.get("namespace"), parent.get("name")) if part)


ADDRESS = Kind(
    resource=IPADDRESSES,
    schema=schema_of(NETWORKING + "IPAddress"),
    singular="ipaddress",
    short_names=("ip",),
    storage="ipaddresses",
    name_check=_check_name,
    columns=(NAME, Column("ParentRef", _parent, description="Whose address it is.")),
    has_status=False,
    has_generation=False,
    acted_on=False,
)

CIDR = Kind(
    resource=SERVICECIDRS,
    schema=schema_of(NETWORKING + "ServiceCIDR"),
    singular="servicecidr",
    storage="servicecidrs",
    prepare=(_prepare,),
    subresources={"status": STATUS},
    columns=(
        NAME,
        Column("CIDRs", lambda obj, _now: ",".join(obj["spec"].get("cidrs") or []), description="Blocks of addresses."),
        AGE,
    ),
    has_generation=False,
    acted_on=False,
)
