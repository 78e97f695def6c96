"""IPAddress and ServiceCIDR: which addresses Services may have, as objects.

The range in use is shown as the ServiceCIDR ``kubernetes``. Which address is taken only Services say
(``registry.addresses``), so that there are never two opinions.
"""

from __future__ import annotations

from holdfast.kinds.apps.replicas import STATUS
from holdfast.kinds.columns import AGE, NAME, NONE
from holdfast.kinds.definitions.overlay import NETWORKING
from holdfast.kinds.definitions.rules import IMMUTABLE, canonical_ip, immutable
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import IPADDRESSES, SERVICECIDRS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, index, invalid


def _check_address(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    return [] if old is None else immutable(new["spec"], old["spec"], "spec", ("parentRef",))


def _parent(obj: Obj, _now: float) -> str:
    parent = obj["spec"].get("parentRef") or {}
    group = parent.get("group")
    resource = f"{parent.get('resource', '')}{f'.{group}' if group else ''}"
    return "/".join([resource, parent.get("namespace") or "", parent.get("name") or ""]) if parent else NONE


ADDRESS = Kind(
    resource=IPADDRESSES,
    schema=schema_of(NETWORKING + "IPAddress"),
    singular="ipaddress",
    short_names=("ip",),
    storage="ipaddresses",
    checks=(_check_address,),
    name_check=lambda name, path: canonical_ip(path, name),
    columns=(NAME, Column("ParentRef", _parent, description="Whose address it is.")),
    has_status=False,
    has_generation=False,
    acted_on=False,
)


def _prepare_range(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {}


def _check_range(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """A second range may join the first; nothing else changes."""
    if old is None:
        return []
    before, after = old["spec"].get("cidrs") or [], new["spec"].get("cidrs") or []
    if len(before) != len(after) and (len(before), len(after)) != (1, 2):
        return [invalid("spec.cidrs", after, IMMUTABLE)]
    pairs = zip(before, after, strict=False)
    return [invalid(index("spec.cidrs", at), now, IMMUTABLE) for at, (then, now) in enumerate(pairs) if then != now]


RANGE = Kind(
    resource=SERVICECIDRS,
    schema=schema_of(NETWORKING + "ServiceCIDR"),
    singular="servicecidr",
    storage="servicecidrs",
    prepare=(_prepare_range,),
    checks=(_check_range,),
    subresources={"status": STATUS},
    columns=(
        NAME,
        Column("CIDRs", lambda obj, _now: ",".join(obj["spec"].get("cidrs") or []), description="The ranges."),
        AGE,
    ),
    has_generation=False,
    acted_on=False,
)
