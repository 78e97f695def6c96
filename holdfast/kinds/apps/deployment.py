"""Deployment and ReplicaSet: equal pods, and their replacement step by step."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import (
    SET_COUNTS,
    STATUS,
    TEMPLATE,
    collisions,
    counts,
    fixed_selector,
    replica_columns,
    scale,
    selector_cell,
    within_replicas,
)
from holdfast.kinds.columns import AGE, NAME, at, containers
from holdfast.kinds.core import outdated
from holdfast.kinds.definitions.overlay import APPS
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import DEPLOYMENTS, REPLICASETS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import selectors

_COUNTS = (
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
)


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {}


def _prepare_set(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"replicas": 0}


def _ready(obj: Obj, _now: float) -> str:
    return f"{(obj.get('status') or {}).get('readyReplicas') or 0}/{obj['spec'].get('replicas', 1)}"


KIND = Kind(
    resource=DEPLOYMENTS,
    schema=schema_of(APPS + "Deployment"),
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    storage="deployments",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    checks=(fixed_selector,),
    status_checks=(
        counts(_COUNTS, within_replicas("updatedReplicas", "readyReplicas", "availableReplicas")),
        collisions,
    ),
    subresources={"status": STATUS, "scale": scale()},
    warnings=(outdated.in_pods("spec", "template", "spec"),),
    columns=(
        NAME,
        Column("Ready", _ready, description="Ready pods of those wanted."),
        Column("Up-to-date", at("status", "updatedReplicas", default=0), description="Pods of the newest template."),
        Column("Available", at("status", "availableReplicas", default=0), description="Pods ready for long enough."),
        AGE,
        *containers(TEMPLATE),
        selector_cell(selectors.from_object),
    ),
)

REPLICA_SET = Kind(
    resource=REPLICASETS,
    schema=schema_of(APPS + "ReplicaSet"),
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    storage="replicasets",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare_set,),
    checks=(fixed_selector,),
    status_checks=(
        counts(
            (*SET_COUNTS, "terminatingReplicas"),
            within_replicas("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
        ),
    ),
    subresources={"status": STATUS, "scale": scale()},
    warnings=(outdated.in_pods("spec", "template", "spec"),),
    columns=replica_columns(selectors.from_object),
    selectable={"status.replicas": lambda obj: str((obj.get("status") or {}).get("replicas") or 0)},
)
