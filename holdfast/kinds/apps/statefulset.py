"""StatefulSet and ControllerRevision: members with names that stay, and the history of their template."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.apps.replicas import STATUS, TEMPLATE, collisions, counts, scale
from holdfast.kinds.columns import AGE, NAME, containers
from holdfast.kinds.core import outdated
from holdfast.kinds.definitions.overlay import APPS
from holdfast.kinds.definitions.rules import label
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import CONTROLLERREVISIONS, STATEFULSETS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, forbidden, invalid, required

MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit',"
    " 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_PARTS = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")


def _check_update(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is None:
        return []
    fixed = [{k: v for k, v in obj["spec"].items() if k not in MUTABLE} for obj in (old, new)]
    return [forbidden("spec", _FORBIDDEN)] if fixed[0] != fixed[1] else []


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"replicas": 0, "availableReplicas": 0}


def _ready(obj: Obj, _now: float) -> str:
    return f"{(obj.get('status') or {}).get('readyReplicas') or 0}/{obj['spec'].get('replicas', 1)}"


def _warn_of_history(new: Obj, _old: Obj | None) -> list[str]:
    if (new["spec"].get("revisionHistoryLimit") or 0) >= 0:
        return []
    return ["spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"]


KIND = Kind(
    resource=STATEFULSETS,
    schema=schema_of(APPS + "StatefulSet"),
    singular="statefulset",
    short_names=("sts",),
    categories=("all",),
    storage="statefulsets",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    checks=(_check_update,),
    status_checks=(
        counts(
            ("replicas", *_PARTS),
            [*((part, "status.replicas") for part in _PARTS), ("availableReplicas", "status.readyReplicas")],
        ),
        collisions,
    ),
    name_check=lambda name, path: label(path, name),
    subresources={
        "status": STATUS,
        "scale": scale(),
    },
    warnings=(outdated.in_pods("spec", "template", "spec"), _warn_of_history),
    columns=(
        NAME,
        Column("Ready", _ready, description="Ready members of those wanted."),
        AGE,
        *containers(TEMPLATE),
    ),
)


def _check_revision(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    found = []
    if (new.get("revision") or 0) < 0:
        found.append(invalid("revision", new["revision"], "must be greater than or equal to 0"))
    if new.get("data") is None:
        found.append(required("data", "data is mandatory"))
    if old is not None and new.get("data") != old.get("data"):
        found.append(invalid("data", new.get("data"), "field is immutable"))
    return found


def _owner(obj: Obj, _now: float) -> str:
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            group = reference["apiVersion"].rpartition("/")[0]
            return f"{reference['kind'].lower()}{'.' + group if group else ''}/{reference['name']}"
    return "<none>"


def _revision(obj: Obj, _now: float) -> Any:
    return obj.get("revision", 0)


REVISION = Kind(
    resource=CONTROLLERREVISIONS,
    schema=schema_of(APPS + "ControllerRevision"),
    singular="controllerrevision",
    storage="controllerrevisions",
    read_by="view",
    checks=(_check_revision,),
    columns=(
        NAME,
        Column("Controller", _owner, description="Whose history it is."),
        Column("Revision", _revision, description="Its number."),
        AGE,
    ),
    has_status=False,
    has_generation=False,
)
