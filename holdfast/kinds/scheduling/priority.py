"""PriorityClass: which pods go first."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.classes import SCHEDULING
from holdfast.kinds.kind import Column, Kind
from holdfast.kinds.resources import PRIORITYCLASSES
from holdfast.kinds.schemas import schema_of

KIND = Kind(
    resource=PRIORITYCLASSES,
    schema=schema_of(SCHEDULING + "PriorityClass"),
    singular="priorityclass",
    short_names=("pc",),
    storage="priorityclasses",
    columns=(
        NAME,
        Column("Value", at("value", default=0), type="integer", description="The higher, the earlier."),
        Column(
            "Global-Default", lambda o, _n: bool(o.get("globalDefault")), type="boolean", description="Whether it is of all others."
        ),
        AGE,
        Column("PreemptionPolicy", at("preemptionPolicy", default=""), description="Whether others must go for them."),
    ),
    has_status=False,
)
