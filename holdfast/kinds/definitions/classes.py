"""Classes of pods and volumes: PriorityClass, RuntimeClass, VolumeAttributesClass. Pods and claims name one."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import NODE, SCHEDULING, STORAGE, overlay
from holdfast.kinds.definitions.plain import check_parameters, driver
from holdfast.kinds.definitions.rules import fill, fill_absent, label_texts, labels, one_of
from holdfast.machinery.fielderror import FieldError, child, forbidden, invalid, required

SYSTEM_PREFIX = "system-"
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
HIGHEST_PRIORITY = 1_000_000_000
PREEMPTION = ("PreemptLowerPriority", "Never")


def _priority_defaults(priority: dict[str, Any]) -> None:
    fill_absent(priority, value=0)
    fill(priority, preemptionPolicy=PREEMPTION[0])
    if priority.get("globalDefault") is False:
        del priority["globalDefault"]


def _unknown(name: str, value: int, default: bool) -> str:
    """What is wrong with a class that calls itself the system's."""
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if default else ""


def _check_priority(priority: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    name, value = (priority.get("metadata") or {}).get("name") or "", priority.get("value") or 0
    found: list[FieldError] = []
    if name.startswith(SYSTEM_PREFIX):
        why = _unknown(name, value, bool(priority.get("globalDefault")))
        lead = f"priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: "
        found += [forbidden("metadata.name", lead + why)] if why else []
    elif value > HIGHEST_PRIORITY:
        found.append(forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_PRIORITY}"))
    return found + one_of("preemptionPolicy", priority.get("preemptionPolicy"), PREEMPTION)


def _check_runtime(runtime: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    handler = runtime.get("handler") or ""
    found = [invalid("handler", handler, text) for text in label_texts(handler)]
    return found + labels("scheduling.nodeSelector", (runtime.get("scheduling") or {}).get("nodeSelector"))


def _check_attributes(attributes: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = driver(child(path, "driverName"), attributes.get("driverName"))
    if attributes.get("parameters"):
        return found + check_parameters(attributes, path)
    return [*found, required(child(path, "parameters"), "must contain at least one key/value pair")]


overlay(SCHEDULING + "PriorityClass", defaulter=_priority_defaults, checks=(_check_priority,))
overlay(NODE + "RuntimeClass", checks=(_check_runtime,), optional=("handler",))
overlay(STORAGE + "VolumeAttributesClass", checks=(_check_attributes,), optional=("driverName",))
