"""What steers scheduling: tolerations, node selectors, affinity, spread."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import one_of, qualified, unsupported
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, forbidden, invalid, required

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def check_toleration(toleration: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    name, operator = toleration.get("key"), toleration.get("operator") or ""
    if name:
        found += qualified(child(path, "key"), name)
    elif operator != "Exists":
        text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        found.append(invalid(child(path, "operator"), operator, text))
    if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        found.append(invalid(child(path, "effect"), toleration.get("effect") or "", text))
    if operator == "Exists" and toleration.get("value"):
        found.append(invalid(child(path, "operator"), toleration["value"], "value must be empty when `operator` is 'Exists'"))
    found += one_of(child(path, "operator"), operator, ("Equal", "Exists"))
    return found + one_of(child(path, "effect"), toleration.get("effect"), EFFECTS)


def _check_requirement(requirement: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    operator, values = requirement.get("operator") or "", requirement.get("values") or []
    here = child(path, "values")
    found: list[FieldError] = []
    if operator in ("In", "NotIn") and not values:
        found.append(required(here, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist") and values:
        found.append(forbidden(here, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
    elif operator in ("Gt", "Lt") and len(values) != 1:
        found.append(required(here, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    elif operator not in ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"):
        found.append(invalid(child(path, "operator"), operator, "not a valid selector operator"))
    return found + qualified(child(path, "key"), requirement.get("key") or "")


def _check_selector(selector: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    if selector.get("nodeSelectorTerms"):
        return []
    return [required(child(path, "nodeSelectorTerms"), "must have at least one node selector term")]


def _check_taint(taint: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = qualified(child(path, "key"), taint["key"]) if taint.get("key") else []
    found += [invalid(child(path, "value"), taint["value"], text) for text in names.label_value(taint.get("value") or "")]
    return found + one_of(child(path, "effect"), taint.get("effect"), EFFECTS)


def _topology_key(path: str, value: str) -> list[FieldError]:
    found = [] if value else [required(path, "can not be empty")]
    return found + qualified(path, value)


def _check_term(term: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    return _topology_key(child(path, "topologyKey"), term.get("topologyKey") or "")


def _check_weight(term: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    weight = term.get("weight") or 0
    return [] if 1 <= weight <= 100 else [invalid(child(path, "weight"), weight, "must be in the range 1-100")]


def _check_spread(constraint: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if (constraint.get("maxSkew") or 0) <= 0:
        found.append(invalid(child(path, "maxSkew"), constraint.get("maxSkew") or 0, "must be greater than zero"))
    if not constraint.get("topologyKey"):
        found.append(required(child(path, "topologyKey"), "can not be empty"))
    when = constraint.get("whenUnsatisfiable")
    if when and when not in ("DoNotSchedule", "ScheduleAnyway"):
        found.append(unsupported(child(path, "whenUnsatisfiable"), when, ("DoNotSchedule", "ScheduleAnyway")))
    return found


overlay(CORE + "Toleration", checks=(check_toleration,))
overlay(CORE + "NodeSelectorRequirement", checks=(_check_requirement,), optional=("key", "operator"))
overlay(CORE + "NodeSelector", checks=(_check_selector,), optional=("nodeSelectorTerms",))
overlay(CORE + "PodAffinityTerm", checks=(_check_term,), optional=("topologyKey",))
overlay(CORE + "WeightedPodAffinityTerm", checks=(_check_weight,))
overlay(CORE + "PreferredSchedulingTerm", checks=(_check_weight,))
overlay(CORE + "TopologySpreadConstraint", checks=(_check_spread,), optional=("maxSkew", "topologyKey"))
overlay(CORE + "Taint", checks=(_check_taint,))
