"""DaemonSetSpec: one pod a node, replaced in place or beside the old one."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import APPS, overlay
from holdfast.kinds.definitions.rules import all_not_negative, count_or_percent, drop_zero, fill, fill_absent, portion, unsupported
from holdfast.kinds.definitions.template import check_selected, check_template, fill_template
from holdfast.machinery.fielderror import FieldError, child, invalid, required

GENERATION = "deprecated.daemonset.template.generation"
"""Counts the template's changes; a field of its own before apps/v1, an annotation since."""
STRATEGIES = ("RollingUpdate", "OnDelete")
COUNTS = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")


def _defaults(daemon_set: dict[str, Any]) -> None:
    fill_absent(daemon_set, spec={}, status={})
    fill_absent(daemon_set["metadata"], annotations={})
    fill_absent(daemon_set["metadata"]["annotations"], **{GENERATION: "0"})


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill_absent(spec, revisionHistoryLimit=10, updateStrategy={})
    fill_template(spec)
    strategy = spec["updateStrategy"]
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill_absent(strategy, rollingUpdate={})
        fill_absent(strategy["rollingUpdate"], maxUnavailable=1, maxSurge=0)


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = check_selected(spec, path, "daemonset") + check_template(spec, path, "DaemonSet")
    found += all_not_negative(spec, path, ("minReadySeconds", "revisionHistoryLimit"))
    return found + _check_strategy(spec.get("updateStrategy") or {}, child(path, "updateStrategy"))


def _check_strategy(strategy: dict[str, Any], path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate") or {}
    if kind not in STRATEGIES:
        return [unsupported(path, {"Type": kind, "RollingUpdate": strategy.get("rollingUpdate")}, STRATEGIES)]
    if kind == "OnDelete":
        return []
    here = child(path, "rollingUpdate")
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    found = count_or_percent(child(here, "maxUnavailable"), unavailable) + count_or_percent(child(here, "maxSurge"), surge)
    if portion(unavailable) and portion(surge):
        found.append(invalid(child(here, "maxSurge"), surge, "may not be set when maxUnavailable is non-zero"))
    elif not portion(unavailable) and not portion(surge):
        found.append(required(child(here, "maxUnavailable"), "cannot be 0 when maxSurge is 0"))
    return found


overlay(APPS + "DaemonSet", defaulter=_defaults)
overlay(APPS + "DaemonSetSpec", defaulter=_spec_defaults, checks=(_check_spec,), optional=("template",))
overlay(
    APPS + "DaemonSetStatus",
    defaults=dict.fromkeys(COUNTS, 0),
    defaulter=drop_zero("updatedNumberScheduled", "numberAvailable", "numberUnavailable"),
)
