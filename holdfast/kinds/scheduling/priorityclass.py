"""PriorityClass: how important a pod is. Admission writes its value into pods (``registry.admission.classes``)."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.overlay import SCHEDULING
from holdfast.kinds.definitions.rules import immutable
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import PRIORITYCLASSES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, forbidden


def _prepare(new: Obj, old: Obj | None) -> None:
    """Born with a generation that never counts: what it says of pods cannot change."""
    if old is None:
        new["metadata"]["generation"] = 1


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is None:
        return []
    changed = new["value"] != old["value"]
    found = [forbidden("value", "may not be changed in an update.")] if changed else []
    return found + immutable(new, old, "", ("preemptionPolicy",))


KIND = Kind(
    resource=PRIORITYCLASSES,
    schema=schema_of(SCHEDULING + "PriorityClass"),
    singular="priorityclass",
    short_names=("pc",),
    storage="priorityclasses",
    prepare=(_prepare,),
    checks=(_check,),
    columns=(
        NAME,
        Column("Value", at("value", default=0), type="integer", description="The priority of its pods."),
        Column(
            "Global-Default", at("globalDefault", default=False), type="boolean", description="Whether pods without a class get it."
        ),
        AGE,
        Column("PreemptionPolicy", at("preemptionPolicy", default=""), description="Whether its pods may displace others."),
    ),
    has_status=False,
    has_generation=False,
)
