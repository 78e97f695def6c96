"""autoscaling/v1 and v2 of one stored autoscaler: v1 knows one metric, and keeps all others in annotations.

Stored is v2. What v1 cannot say it carries as JSON, in shapes of its own, so that a client of v1 writes back what it read.
An annotation that does not decode stays an annotation; ``faults`` says so before anything is stored.
"""

from __future__ import annotations

from typing import Any

import orjson

from holdfast.kinds.definitions.autoscaler import METRICS, SOURCES, cpu
from holdfast.kinds.definitions.overlay import AUTOSCALING
from holdfast.kinds.kind import Obj
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.decode import decode
from holdfast.machinery.errors import ApiError
from holdfast.machinery.fielderror import FieldError, invalid, key

PREFIX = "autoscaling.alpha.kubernetes.io/"
CURRENT, BEHAVIOR, CONDITIONS = (PREFIX + name for name in ("current-metrics", "behavior", "conditions"))
_PLACES = {
    METRICS: ("spec", "metrics"),
    CURRENT: ("status", "currentMetrics"),
    BEHAVIOR: ("spec", "behavior"),
    CONDITIONS: ("status", "conditions"),
}
_METRIC = {"metricName": ("metric", "name")}
# By source: v1's flat name -> v2's path. A status differs from a spec in two words.
_SHAPES: dict[str, dict[str, tuple[str, ...]]] = {
    "object": {
        **_METRIC,
        "target": ("describedObject",),
        "selector": ("metric", "selector"),
        "targetValue": ("target", "value"),
        "averageValue": ("target", "averageValue"),
    },
    "pods": {**_METRIC, "selector": ("metric", "selector"), "targetAverageValue": ("target", "averageValue")},
    "resource": {
        "name": ("name",),
        "targetAverageUtilization": ("target", "averageUtilization"),
        "targetAverageValue": ("target", "averageValue"),
    },
    "external": {
        **_METRIC,
        "metricSelector": ("metric", "selector"),
        "targetValue": ("target", "value"),
        "targetAverageValue": ("target", "averageValue"),
    },
}
_SHAPES["containerResource"] = {**_SHAPES["resource"], "container": ("container",)}
_KINDS = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}


def _shape(source: str, *, status: bool) -> dict[str, tuple[str, ...]]:
    if not status:
        return _SHAPES[source]
    return {
        name.replace("target", "current") if name != "target" else name: tuple("current" if p == "target" else p for p in path)
        for name, path in _SHAPES[source].items()
    }


def _flat(metric: Obj, *, status: bool) -> Obj:
    """A metric of v2 as v1's annotation has it."""
    out: Obj = {"type": metric.get("type", "")}
    for source in SOURCES.values():
        if not isinstance(metric.get(source), dict):
            continue
        out[source] = {}
        for name, path in _shape(source, status=status).items():
            value: Any = metric[source]
            for step in path:
                value = value.get(step) if isinstance(value, dict) else None
            if value is not None:
                out[source][name] = value
    return out


def _deep(metric: Any, *, status: bool) -> Obj:
    """A metric of v1's annotation as v2 has it. Raises ValueError when it is none."""
    if not isinstance(metric, dict):
        raise ValueError("a metric is an object")
    out: Obj = {"type": metric.get("type", "")}
    for source in SOURCES.values():
        given = metric.get(source)
        if given is None:
            continue
        if not isinstance(given, dict):
            raise ValueError(f"{source} is an object")
        made: Obj = {} if status else {"target": {}}
        for name, path in _shape(source, status=status).items():
            if given.get(name) is None:
                continue
            place = made
            for step in path[:-1]:
                place = place.setdefault(step, {})
            place[path[-1]] = given[name]
        if not status:
            made["target"]["type"] = next((kind for name, kind in _KINDS.items() if name in made["target"]), "Value")
        out[source] = made
    return out


def _unpacked(name: str, text: Any) -> Any:
    """What an annotation stands for in v2. Raises ValueError."""
    value = orjson.loads(str(text))
    if name in (METRICS, CURRENT):
        if not isinstance(value, list):
            raise ValueError("a list of metrics is wanted")
        value = [_deep(metric, status=name == CURRENT) for metric in value]
    half, field = _PLACES[name]
    try:
        decode(schema_of(AUTOSCALING + "HorizontalPodAutoscaler"), {half: {field: value}})
    except ApiError as error:
        raise ValueError(error.message) from None
    return value


def faults(obj: Obj) -> list[FieldError]:
    """Annotations of v1 that say nothing v2 could keep."""
    found: list[FieldError] = []
    for name, text in (obj["metadata"].get("annotations") or {}).items():
        if name in _PLACES:
            try:
                _unpacked(name, text)
            except ValueError as error:
                found.append(invalid(key("metadata.annotations", name), text, str(error)))
    return found


def is_cpu(metric: Obj) -> bool:
    resource = metric.get("resource") or {}
    wanted = (resource.get("target") or resource.get("current") or {}).get("averageUtilization")
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and wanted is not None


def to_v2(obj: Obj) -> Obj:
    """The stored form of an autoscaler of v1."""
    metadata, spec, status = dict(obj["metadata"]), dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    target, current = spec.pop("targetCPUUtilizationPercentage", None), status.pop("currentCPUUtilizationPercentage", None)
    halves = {"spec": spec, "status": status}
    annotations = dict(metadata.get("annotations") or {})
    for name, (half, field) in _PLACES.items():
        if name in annotations:
            try:
                halves[half][field] = _unpacked(name, annotations[name])
            except ValueError:
                continue
            del annotations[name]
    if target is not None:
        spec["metrics"] = [*(spec.get("metrics") or []), cpu(target)]
    if current is not None and not status.get("currentMetrics"):
        status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": current}}}]
    status.setdefault("currentMetrics", None)
    status.setdefault("desiredReplicas", 0)
    if not status.get("currentReplicas"):
        status.pop("currentReplicas", None)
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return {**obj, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec, "status": status}


def to_v1(obj: Obj) -> Obj:
    """A stored autoscaler as v1 shows it."""
    metadata, spec, status = dict(obj["metadata"]), dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metrics, current = spec.pop("metrics", None) or [], status.pop("currentMetrics", None) or []
    packed = {
        METRICS: [_flat(metric, status=False) for metric in metrics if not is_cpu(metric)],
        CURRENT: [_flat(metric, status=True) for metric in current],
        BEHAVIOR: spec.pop("behavior", None),
        CONDITIONS: status.pop("conditions", None),
    }
    for metric in filter(is_cpu, metrics):
        spec["targetCPUUtilizationPercentage"] = metric["resource"]["target"]["averageUtilization"]
    for metric in filter(is_cpu, current):
        status["currentCPUUtilizationPercentage"] = metric["resource"]["current"]["averageUtilization"]
    status = {"currentReplicas": 0, "desiredReplicas": 0} | status
    annotations = {name: orjson.dumps(value).decode() for name, value in packed.items() if value}
    if annotations:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    return {**obj, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}
