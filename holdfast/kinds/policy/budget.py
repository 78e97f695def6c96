"""PodDisruptionBudget: what an eviction must leave standing."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import STATUS, counts
from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.budget import COUNTS
from holdfast.kinds.definitions.overlay import POLICY
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import PODDISRUPTIONBUDGETS
from holdfast.kinds.schemas import schema_of


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = dict.fromkeys(COUNTS, 0)


def _bound(field: str) -> Column:
    cell = at("spec", field, default="N/A")
    name = {"minAvailable": "Min Available", "maxUnavailable": "Max Unavailable"}[field]
    return Column(name, lambda obj, now: str(cell(obj, now)), description=f"The budget's {field}.")


KIND = Kind(
    resource=PODDISRUPTIONBUDGETS,
    schema=schema_of(POLICY + "PodDisruptionBudget"),
    singular="poddisruptionbudget",
    short_names=("pdb",),
    storage="poddisruptionbudgets",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    status_checks=(counts(COUNTS),),
    subresources={"status": STATUS},
    columns=(
        NAME,
        _bound("minAvailable"),
        _bound("maxUnavailable"),
        Column(
            "Allowed Disruptions", at("status", "disruptionsAllowed", default=0), type="integer", description="Pods that may go now."
        ),
        AGE,
    ),
    unconditional_update=False,
)
