"""HorizontalPodAutoscalerSpec (autoscaling/v2): between how many pods, by which metrics, and how fast."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.container import resource_name
from holdfast.kinds.definitions.overlay import AUTOSCALING, AUTOSCALING_V1, overlay
from holdfast.kinds.definitions.rules import amount, drop_zero, fill_absent, items, label, one_of, path_segment, unsupported
from holdfast.machinery.fielderror import FieldError, child, forbidden, invalid, required

SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
TARGETS = ("Utilization", "Value", "AverageValue")
CPU_TARGET = 80
METRICS = "autoscaling.alpha.kubernetes.io/metrics"
"""An annotation of v1: the metrics that it has no field for."""
LONGEST_WINDOW, LONGEST_PERIOD = 3600, 1800
_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}],
}
_DOWN = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
_POPULATE = "must populate information for the given metric source"


def cpu(percent: int) -> dict[str, Any]:
    """The metric that autoscaling/v1 knows as a number."""
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _defaults(autoscaler: dict[str, Any]) -> None:
    fill_absent(autoscaler, spec={}, status={})
    autoscaler["status"].setdefault("currentMetrics", None)
    fill_absent(autoscaler["status"], desiredReplicas=0)


def _v1_defaults(autoscaler: dict[str, Any]) -> None:
    """Without any metric it is the CPU's, as in v2."""
    fill_absent(autoscaler, spec={}, status={})
    if METRICS not in (autoscaler["metadata"].get("annotations") or {}):
        fill_absent(autoscaler["spec"], targetCPUUtilizationPercentage=CPU_TARGET)
    fill_absent(autoscaler["status"], currentReplicas=0, desiredReplicas=0)


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill_absent(spec, minReplicas=1, scaleTargetRef={}, maxReplicas=0)
    if not spec.get("metrics"):
        spec["metrics"] = [cpu(CPU_TARGET)]
    behavior = spec.get("behavior")
    if behavior is not None:
        fill_absent(behavior, scaleUp={}, scaleDown={})
        fill_absent(behavior["scaleUp"], **_UP)
        fill_absent(behavior["scaleDown"], **_DOWN)


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    found: list[FieldError] = []
    if least is not None and least < 1:
        found.append(invalid(child(path, "minReplicas"), least, "must be greater than or equal to 1"))
    if most < 1:
        found.append(invalid(child(path, "maxReplicas"), most, "must be greater than 0"))
    if least is not None and most < least:
        found.append(invalid(child(path, "maxReplicas"), most, "must be greater than or equal to `minReplicas`"))
    found += _check_reference(spec.get("scaleTargetRef") or {}, child(path, "scaleTargetRef"), of_group=True)
    for metric, here in items(spec, path, "metrics"):
        found += _check_metric(metric, here)
    for name, rules in (spec.get("behavior") or {}).items():
        found += _check_rules(rules or {}, child(path, "behavior", name))
    return found


def _check_reference(reference: dict[str, Any], path: str, *, of_group: bool) -> list[FieldError]:
    found: list[FieldError] = []
    for name in ("kind", "name"):
        value = reference.get(name)
        found += path_segment(child(path, name), value) if value else [required(child(path, name))]
    version = reference.get("apiVersion") or ""
    here = child(path, "apiVersion")
    if version.count("/") > 1:
        found.append(invalid(here, version, f"unexpected GroupVersion string: {version}"))
    elif of_group and "/" not in version and (version, reference.get("kind")) != ("v1", "ReplicationController"):
        found.append(invalid(here, version, "apiVersion must specify API group"))
    return found


def _check_metric(metric: dict[str, Any], path: str) -> list[FieldError]:
    kind = metric.get("type") or ""
    found: list[FieldError] = []
    if not kind:
        found.append(required(child(path, "type"), "must specify a metric source type"))
    if kind not in SOURCES:
        found.append(unsupported(child(path, "type"), kind, tuple(SOURCES)))
    given = [name for name in SOURCES.values() if metric.get(name) is not None]
    if given:
        found += _check_source(given[0], metric[given[0]], child(path, given[0]))
    wanted = SOURCES.get(kind)
    if wanted and wanted not in given:
        found.append(required(child(path, wanted), _POPULATE))
    if len(given) > 1:
        text = "must populate the given metric source only"
        found += [forbidden(child(path, name), text) for name in given if name != wanted]
    return found


def _check_source(kind: str, source: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    target, here = source.get("target") or {}, child(path, "target")
    if kind == "object":
        found += _check_reference(source.get("describedObject") or {}, child(path, "describedObject"), of_group=False)
    if kind in ("object", "external", "pods"):
        name = (source.get("metric") or {}).get("name") or ""
        place = child(path, "metric", "name")
        found += path_segment(place, name) if name else [required(place, "must specify a metric name")]
    else:
        name = source.get("name") or ""
        if not name:
            found.append(required(child(path, "name"), "must specify a resource name"))
        elif kind == "containerResource":
            found += resource_name(child(path, "name"), name)
    if kind == "containerResource":
        name, place = source.get("container") or "", child(path, "container")
        found += label(place, name) if name else [required(place, "must specify a container")]
    return found + _check_target(target, here) + _check_amounts(kind, target, here)


def _check_target(target: dict[str, Any], path: str) -> list[FieldError]:
    kind = target.get("type") or ""
    found: list[FieldError] = [] if kind else [required(child(path, "type"), "must specify a metric target type")]
    if kind not in TARGETS:
        found.append(invalid(child(path, "type"), kind, "must be either Utilization, Value, or AverageValue"))
    for name in ("value", "averageValue"):
        number = amount(target[name]) if target.get(name) is not None else None
        if number is not None and number <= 0:
            found.append(invalid(child(path, name), target[name], "must be positive"))
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        found.append(invalid(child(path, "averageUtilization"), percent, "must be greater than 0"))
    return found


def _check_amounts(kind: str, target: dict[str, Any], path: str) -> list[FieldError]:
    """Which amounts a target of this kind of metric has."""
    value, average, percent = (target.get(name) is not None for name in ("value", "averageValue", "averageUtilization"))
    here = child(path, "averageValue")
    if kind in ("resource", "containerResource"):
        if not percent and not average:
            return [required(child(path, "averageUtilization"), "must set either a target raw value or a target utilization")]
        return [forbidden(here, "may not set both a target raw value and a target utilization")] if percent and average else []
    if kind == "pods":
        return [] if average else [required(here, "must specify a positive target averageValue")]
    if kind == "object":
        return [] if value or average else [required(here, "must set either a target value or averageValue")]
    if not value and not average:
        return [required(here, "must set either a target value for metric or a per-pod target")]
    text = "may not set both a target value for metric and a per-pod target"
    return [forbidden(child(path, "value"), text)] if value and average else []


def _check_rules(rules: dict[str, Any], path: str) -> list[FieldError]:
    window = rules.get("stabilizationWindowSeconds")
    here = child(path, "stabilizationWindowSeconds")
    found: list[FieldError] = []
    if window is not None and window < 0:
        found.append(invalid(here, window, "must be greater than or equal to zero"))
    if window is not None and window > LONGEST_WINDOW:
        found.append(invalid(here, window, f"must be less than or equal to {LONGEST_WINDOW}"))
    found += one_of(child(path, "selectPolicy"), rules.get("selectPolicy"), ("Disabled", "Max", "Min"))
    if not rules.get("policies"):
        found.append(required(child(path, "policies"), "must specify at least one Policy"))
    for policy, place in items(rules, path, "policies"):
        if policy.get("type") not in ("Percent", "Pods"):
            found.append(unsupported(child(place, "type"), policy.get("type") or "", ("Percent", "Pods")))
        for name in ("value", "periodSeconds"):
            number = policy.get(name) or 0
            if number <= 0:
                found.append(invalid(child(place, name), number, "must be greater than zero"))
        period = policy.get("periodSeconds") or 0
        if period > LONGEST_PERIOD:
            found.append(invalid(child(place, "periodSeconds"), period, f"must be less than or equal to {LONGEST_PERIOD}"))
    return found


_SPEC, _REFERENCE = "HorizontalPodAutoscalerSpec", "CrossVersionObjectReference"
overlay(AUTOSCALING + "HorizontalPodAutoscaler", defaulter=_defaults)
overlay(AUTOSCALING + _SPEC, defaulter=_spec_defaults, checks=(_check_spec,), optional=("maxReplicas", "scaleTargetRef"))
overlay(AUTOSCALING + "HorizontalPodAutoscalerStatus", defaulter=drop_zero("currentReplicas"))
# autoscaling/v1 is checked in its stored form, which is v2: nothing is required twice.
overlay(AUTOSCALING_V1 + "HorizontalPodAutoscaler", defaulter=_v1_defaults)
overlay(AUTOSCALING_V1 + _SPEC, defaults={"minReplicas": 1}, optional=("maxReplicas", "scaleTargetRef"))
for _group in (AUTOSCALING, AUTOSCALING_V1):
    overlay(_group + _REFERENCE, optional=("kind", "name"))
for _name in ("Object", "Pods", "External"):
    _more = ("describedObject",) if _name == "Object" else ()
    overlay(f"{AUTOSCALING}{_name}MetricSource", optional=("metric", "target", *_more))
overlay(AUTOSCALING + "ResourceMetricSource", optional=("name", "target"))
overlay(AUTOSCALING + "ContainerResourceMetricSource", optional=("container", "name", "target"))
overlay(AUTOSCALING + "MetricIdentifier", optional=("name",))
overlay(AUTOSCALING + "MetricTarget", optional=("type",))
overlay(AUTOSCALING + "MetricSpec", optional=("type",))
overlay(AUTOSCALING + "HPAScalingPolicy", optional=("type", "value", "periodSeconds"))
