"""RuntimeClass: how a node runs a pod."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.classes import NODE
from holdfast.kinds.kind import Column, Kind
from holdfast.kinds.resources import RUNTIMECLASSES
from holdfast.kinds.schemas import schema_of

KIND = Kind(
    resource=RUNTIMECLASSES,
    schema=schema_of(NODE + "RuntimeClass"),
    singular="runtimeclass",
    storage="runtimeclasses",
    columns=(NAME, Column("Handler", at("handler", default=""), description="What runs them."), AGE),
    has_status=False,
    has_generation=False,
    acted_on=False,
)
