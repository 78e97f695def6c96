"""NetworkPolicy: who may talk to whom."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, label_selector
from holdfast.kinds.definitions.ingress import NETWORKING
from holdfast.kinds.kind import Column, Kind
from holdfast.kinds.resources import NETWORKPOLICIES
from holdfast.kinds.schemas import schema_of

KIND = Kind(
    resource=NETWORKPOLICIES,
    schema=schema_of(NETWORKING + "NetworkPolicy"),
    singular="networkpolicy",
    short_names=("netpol",),
    storage="networkpolicies",
    columns=(
        NAME,
        Column("Pod-Selector", lambda obj, _now: label_selector(obj["spec"].get("podSelector")), description="The pods it is for."),
        AGE,
    ),
    has_status=False,
    acted_on=False,
)
