"""Lease: who holds what, and since when. Nodes renew one as their heartbeat."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.plain import COORDINATION
from holdfast.kinds.kind import Column, Kind
from holdfast.kinds.resources import LEASES
from holdfast.kinds.schemas import schema_of

KIND = Kind(
    resource=LEASES,
    schema=schema_of(COORDINATION + "Lease"),
    singular="lease",
    storage="leases",
    read_by="edit",
    changed_by="edit",
    columns=(NAME, Column("Holder", at("spec", "holderIdentity", default=""), description="Who holds it."), AGE),
    has_status=False,
    has_generation=False,
    unconditional_update=False,
    create_on_update=True,
)
