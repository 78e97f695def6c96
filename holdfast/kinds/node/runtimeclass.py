"""RuntimeClass: what runs a pod, what that costs, and where it can run. Admission writes it into pods."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.overlay import NODE
from holdfast.kinds.definitions.rules import immutable
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import RUNTIMECLASSES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    return [] if old is None else immutable(new, old, "", ("handler",))


KIND = Kind(
    resource=RUNTIMECLASSES,
    schema=schema_of(NODE + "RuntimeClass"),
    singular="runtimeclass",
    storage="runtimeclasses",
    checks=(_check,),
    columns=(NAME, Column("Handler", at("handler", default=""), description="The runtime's configuration."), AGE),
    has_status=False,
    has_generation=False,
    unconditional_update=False,
    acted_on=False,
)
