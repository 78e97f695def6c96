"""ReplicationController and PodTemplate: the oldest way to have equal pods, and a template that lies about."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import SET_COUNTS, STATUS, counts, replica_columns, scale, within_replicas
from holdfast.kinds.columns import NAME, NONE, containers
from holdfast.kinds.core import outdated
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.template import check_made
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import PODTEMPLATES, REPLICATIONCONTROLLERS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import selectors
from holdfast.machinery.fielderror import FieldError


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"replicas": 0}


KIND = Kind(
    resource=REPLICATIONCONTROLLERS,
    schema=schema_of(CORE + "ReplicationController"),
    singular="replicationcontroller",
    short_names=("rc",),
    categories=("all",),
    storage="replicationcontrollers",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    status_checks=(counts(SET_COUNTS, within_replicas("fullyLabeledReplicas", "readyReplicas", "availableReplicas")),),
    subresources={"status": STATUS, "scale": scale(selectors.plain)},
    warnings=(outdated.in_pods("spec", "template", "spec"),),
    columns=replica_columns(selectors.plain),
    selectable={"status.replicas": lambda obj: str((obj.get("status") or {}).get("replicas") or 0)},
    default_propagation="Orphan",
)


def _check_template(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    return check_made(new, "")


def _labels(obj: Obj, _now: float) -> str:
    labels = ((obj.get("template") or {}).get("metadata") or {}).get("labels") or {}
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items())) or NONE


PODTEMPLATE = Kind(
    resource=PODTEMPLATES,
    schema=schema_of(CORE + "PodTemplate"),
    singular="podtemplate",
    storage="podtemplates",
    checks=(_check_template,),
    warnings=(outdated.in_pods("template", "spec"),),
    columns=(
        NAME,
        *(Column(c.name, c.cell, description=c.description) for c in containers(("template", "spec"))),
        Column("Pod Labels", _labels, description="Labels of pods made from it."),
    ),
    has_status=False,
)
