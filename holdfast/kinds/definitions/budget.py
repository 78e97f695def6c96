"""PodDisruptionBudgetSpec: how many pods may be away at once, or must be there."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import POLICY, overlay
from holdfast.kinds.definitions.rules import count_or_percent, fill_absent, one_of
from holdfast.machinery.fielderror import FieldError, child, invalid

COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
EVICTION = ("AlwaysAllow", "IfHealthyBudget")


def _defaults(budget: dict[str, Any]) -> None:
    fill_absent(budget, spec={}, status={})


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    policy = spec.get("unhealthyPodEvictionPolicy")
    found: list[FieldError] = []
    if least is not None and most is not None:
        shown = {"MinAvailable": least, "Selector": spec.get("selector"), "MaxUnavailable": most, "UnhealthyPodEvictionPolicy": policy}
        found.append(invalid(path, shown, "minAvailable and maxUnavailable cannot be both set"))
    found += count_or_percent(child(path, "minAvailable"), least) + count_or_percent(child(path, "maxUnavailable"), most)
    return found + one_of(child(path, "unhealthyPodEvictionPolicy"), policy, EVICTION)


overlay(POLICY + "PodDisruptionBudget", defaulter=_defaults)
overlay(POLICY + "PodDisruptionBudgetSpec", checks=(_check_spec,))
overlay(POLICY + "PodDisruptionBudgetStatus", defaults=dict.fromkeys(COUNTS, 0))
