"""NetworkPolicy: who may talk to pods, and to whom pods may talk."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, label_selector
from holdfast.kinds.definitions.overlay import NETWORKING
from holdfast.kinds.kind import Column, Kind
from holdfast.kinds.resources import NETWORKPOLICIES
from holdfast.kinds.schemas import schema_of

KIND = Kind(
    resource=NETWORKPOLICIES,
    schema=schema_of(NETWORKING + "NetworkPolicy"),
    singular="networkpolicy",
    short_names=("netpol",),
    storage="networkpolicies",
    read_by="view",
    changed_by="edit",
    columns=(
        NAME,
        Column("Pod-Selector", lambda obj, _now: label_selector(obj["spec"].get("podSelector")), description="Pods it is about."),
        AGE,
    ),
    has_status=False,
    acted_on=False,
)
