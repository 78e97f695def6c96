"""PriorityClass and RuntimeClass: what pods name to be put before others, or run otherwise."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import overlay
from holdfast.kinds.definitions.rules import fill, label, labels, unsupported
from holdfast.machinery.fielderror import FieldError, child, forbidden, invalid

SCHEDULING = "io.k8s.api.scheduling.v1."
NODE = "io.k8s.api.node.v1."
HIGHEST = 1_000_000_000
"""Of those that users may define."""
SYSTEM = {"system-cluster-critical": 2 * HIGHEST, "system-node-critical": 2 * HIGHEST + 1000}
PREEMPTION = ("PreemptLowerPriority", "Never")


def _priority_defaults(priority: dict[str, Any]) -> None:
    fill(priority, preemptionPolicy="PreemptLowerPriority")


def _check_priority(new: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    name, value = new["metadata"].get("name") or "", new.get("value") or 0
    if name.startswith("system-"):
        if why := _unknown(name, value, is_default=bool(new.get("globalDefault"))):
            text = f"priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            found.append(forbidden("metadata.name", text))
    elif value > HIGHEST:
        found.append(forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST}"))
    policy = new.get("preemptionPolicy")
    if policy not in PREEMPTION:
        found.append(unsupported("preemptionPolicy", policy, PREEMPTION))
    if isinstance(old, dict):
        if value != (old.get("value") or 0):
            found.append(forbidden("value", "may not be changed in an update."))
        if policy != old.get("preemptionPolicy"):
            found.append(invalid("preemptionPolicy", policy, "field is immutable"))
    return found


def _unknown(name: str, value: int, *, is_default: bool) -> str:
    if name not in SYSTEM:
        return f"{name} is not a known system priority class"
    if value != SYSTEM[name]:
        return f"value of {name} PriorityClass must be {SYSTEM[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""


def _check_runtime(new: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    handler = new.get("handler") or ""
    if isinstance(old, dict):
        return [] if handler == old.get("handler") else [invalid("handler", handler, "field is immutable")]
    return label("handler", handler) + labels(child("scheduling", "nodeSelector"), (new.get("scheduling") or {}).get("nodeSelector"))


overlay(SCHEDULING + "PriorityClass", defaulter=_priority_defaults, checks=(_check_priority,), optional=("value",))
overlay(NODE + "RuntimeClass", checks=(_check_runtime,), optional=("handler",))
