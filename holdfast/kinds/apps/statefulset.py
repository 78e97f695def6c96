"""StatefulSet and ControllerRevision: members with names that stay, and the history of their template."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.columns import AGE, NAME, containers
from holdfast.kinds.definitions.overlay import APPS, overlay
from holdfast.kinds.kind import Column, Kind, Obj, Subresource
from holdfast.kinds.resources import CONTROLLERREVISIONS, STATEFULSETS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import names, selectors
from holdfast.machinery.fielderror import FieldError, forbidden, invalid, not_supported, required

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


def _spec_defaults(spec: Obj) -> None:
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
    policy = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    policy.setdefault("whenDeleted", "Retain")
    policy.setdefault("whenScaled", "Retain")
    for claim in spec.get("volumeClaimTemplates") or []:
        claim["kind"], claim["apiVersion"] = "PersistentVolumeClaim", "v1"
        claim["status"] = {"phase": "Pending"}
        claim.setdefault("metadata", {})


def _check_spec(new: Obj, _old: Obj | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if new.get("podManagementPolicy") not in ("OrderedReady", "Parallel"):
        found.append(invalid(f"{path}.podManagementPolicy", new.get("podManagementPolicy"), "must be 'OrderedReady' or 'Parallel'"))
    strategy = new.get("updateStrategy") or {}
    if strategy.get("type") not in ("RollingUpdate", "OnDelete"):
        found.append(invalid(f"{path}.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'"))
    elif strategy["type"] == "OnDelete" and strategy.get("rollingUpdate") is not None:
        found.append(
            invalid(
                f"{path}.updateStrategy.rollingUpdate", strategy["rollingUpdate"], "only allowed for updateStrategy 'RollingUpdate'"
            )
        )
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    if partition < 0:
        found.append(invalid(f"{path}.updateStrategy.rollingUpdate.partition", partition, "must be greater than or equal to 0"))
    for field in ("whenDeleted", "whenScaled"):
        value = (new.get("persistentVolumeClaimRetentionPolicy") or {}).get(field)
        if value not in ("Retain", "Delete"):
            found.append(not_supported(f"{path}.persistentVolumeClaimRetentionPolicy.{field}", value, ("Delete", "Retain")))
    return found + _check_selector(new, path) + _check_template(new.get("template") or {}, f"{path}.template")


def _check_selector(spec: Obj, path: str) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return []
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return [invalid(f"{path}.selector", selector, "empty selector is invalid for statefulset")]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not selectors.from_object(selector).matches(labels):
        return [invalid(f"{path}.template.metadata.labels", labels, "`selector` does not match template `labels`")]
    return []


def _check_template(template: Obj, path: str) -> list[FieldError]:
    spec = template.get("spec")
    if spec is None:
        return [required(f"{path}.spec.containers")]
    found = []
    if spec.get("restartPolicy") != "Always":
        found.append(not_supported(f"{path}.spec.restartPolicy", spec.get("restartPolicy"), ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        found.append(forbidden(f"{path}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in StatefulSet is not Supported"))
    return found


def _check_update(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if not new.get("spec"):
        return [required("spec")]
    if old is None:
        return []
    fixed = [{k: v for k, v in obj["spec"].items() if k not in MUTABLE} for obj in (old, new)]
    return [forbidden("spec", _FORBIDDEN)] if fixed[0] != fixed[1] else []


def _check_status(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    status = new.get("status") or {}
    found = []
    for field in ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"):
        value = status.get(field) or 0
        if value < 0:
            found.append(invalid(f"status.{field}", value, "must be greater than or equal to 0"))
        if value > (status.get("replicas") or 0):
            found.append(invalid(f"status.{field}", value, "cannot be greater than status.replicas"))
    if (status.get("availableReplicas") or 0) > (status.get("readyReplicas") or 0):
        found.append(invalid("status.availableReplicas", status["availableReplicas"], "cannot be greater than status.readyReplicas"))
    before = ((old or {}).get("status") or {}).get("collisionCount") or 0
    if (status.get("collisionCount") or 0) < before:
        found.append(invalid("status.collisionCount", status.get("collisionCount") or 0, "cannot be decremented"))
    return found


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"replicas": 0, "availableReplicas": 0}


def _ready(obj: Obj, _now: float) -> str:
    return f"{(obj.get('status') or {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}"


overlay(
    APPS + "StatefulSetSpec",
    defaults={"replicas": 1, "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10, "serviceName": ""},
    defaulter=_spec_defaults,
    checks=(_check_spec,),
    fields={"replicas": {"minimum": 0}, "minReadySeconds": {"minimum": 0}},
)
overlay(APPS + "StatefulSetOrdinals", defaults={"start": 0}, fields={"start": {"minimum": 0}})

KIND = Kind(
    resource=STATEFULSETS,
    schema=schema_of(APPS + "StatefulSet"),
    singular="statefulset",
    short_names=("sts",),
    categories=("all",),
    storage="statefulsets",
    prepare=(_prepare,),
    checks=(_check_update,),
    status_checks=(_check_status,),
    name_check=lambda name, path: [invalid(path, name, text) for text in names.dns1123_label(name)],
    subresources={
        "status": Subresource("status", ("get", "patch", "update")),
        "scale": Subresource(
            "scale", ("get", "patch", "update"), kind="Scale", group="autoscaling", version="v1", replicas_path=("spec", "replicas")
        ),
    },
    columns=(
        NAME,
        Column("Ready", _ready, description="Ready members of those wanted."),
        AGE,
        *containers(("spec", "template", "spec")),
    ),
)


def _check_revision(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    found = []
    if (new.get("revision") or 0) < 0:
        found.append(invalid("revision", new["revision"], "must be greater than or equal to 0"))
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
