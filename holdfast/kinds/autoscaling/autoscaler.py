"""HorizontalPodAutoscaler, in autoscaling/v2 and v1: two served forms of the same stored objects (the v2 form)."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.apps.replicas import STATUS, counts
from holdfast.kinds.autoscaling.conversion import faults, to_v1, to_v2
from holdfast.kinds.columns import AGE, NAME, NONE, at
from holdfast.kinds.definitions.autoscaler import SOURCES
from holdfast.kinds.definitions.overlay import AUTOSCALING, AUTOSCALING_V1
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import AUTOSCALERS, AUTOSCALERS_V1
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError
from holdfast.machinery.validate import validate

_SHOWN = 2
_SCHEMA = schema_of(AUTOSCALING + "HorizontalPodAutoscaler")


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"desiredReplicas": 0, "currentMetrics": None}


def _prepare_v1(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"currentReplicas": 0, "desiredReplicas": 0}


def _check_v1(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """What is stored must be sound: the rules of v2 are the only ones."""
    return faults(new) or validate(_SCHEMA, to_v2(new), to_v2(old) if old else None)


def _reference(obj: Obj, _now: float) -> str:
    reference = obj["spec"].get("scaleTargetRef") or {}
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def _metric(metric: Obj, status: Obj) -> str:
    """Now/wanted of one metric."""
    source = SOURCES.get(metric.get("type") or "")
    if source is None:
        return "<unknown type>"
    spec = metric.get(source) or {}
    target, current = spec.get("target") or {}, (status.get(source) or {}).get("current") or {}
    lead = f"{spec.get('name')}: " if source in ("resource", "containerResource") else ""
    if target.get("averageValue") is not None:
        per_pod = " (avg)" if source in ("external", "object") else ""
        return f"{lead}{current.get('averageValue', '<unknown>')}/{target['averageValue']}{per_pod}"
    if lead:
        now, wanted = current.get("averageUtilization"), target.get("averageUtilization")
        return f"{lead}{'<unknown>' if now is None else f'{now}%'}/{'<auto>' if wanted is None else f'{wanted}%'}"
    return f"{current.get('value', '<unknown>')}/{target.get('value', '<unset>')}"


def _targets(obj: Obj, _now: float) -> str:
    metrics = obj["spec"].get("metrics") or []
    current = (obj.get("status") or {}).get("currentMetrics") or []
    shown = [_metric(m, current[at] if at < len(current) else {}) for at, m in enumerate(metrics[:_SHOWN])]
    more = f" + {len(metrics) - _SHOWN} more..." if len(metrics) > _SHOWN else ""
    return f"{', '.join(shown)}{more}" if metrics else NONE


def _least(obj: Obj, _now: float) -> str:
    return str(obj["spec"].get("minReplicas", "<unset>"))


_COLUMNS = (
    NAME,
    Column("Reference", _reference, description="What it scales."),
    Column("Targets", _targets, description="Its metrics: as they are, and as they should be."),
    Column("MinPods", _least, description="The fewest pods."),
    Column("MaxPods", at("spec", "maxReplicas", default=0), description="The most pods."),
    Column("Replicas", at("status", "currentReplicas", default=0), description="Pods there are."),
    AGE,
)


def _of_v2(cell: Any) -> Any:
    """The same cell for the older form."""
    return lambda obj, now: cell(to_v2(obj), now)


_check_status = counts(("currentReplicas", "desiredReplicas"))

KIND = Kind(
    resource=AUTOSCALERS,
    schema=_SCHEMA,
    singular="horizontalpodautoscaler",
    short_names=("hpa",),
    categories=("all",),
    storage="horizontalpodautoscalers",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    status_checks=(_check_status,),
    subresources={"status": STATUS},
    columns=_COLUMNS,
    has_generation=False,
    acted_on=False,
)
KIND_V1 = Kind(
    resource=AUTOSCALERS_V1,
    schema=schema_of(AUTOSCALING_V1 + "HorizontalPodAutoscaler"),
    singular="horizontalpodautoscaler",
    short_names=("hpa",),
    categories=("all",),
    storage="horizontalpodautoscalers",
    to_storage=to_v2,
    from_storage=to_v1,
    prepare=(_prepare_v1,),
    checks=(_check_v1,),
    status_checks=(_check_status,),
    subresources={"status": STATUS},
    columns=tuple(Column(c.name, _of_v2(c.cell), c.type, c.format, c.priority, c.description) for c in _COLUMNS),
    has_generation=False,
    acted_on=False,
)
