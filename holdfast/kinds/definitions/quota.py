"""LimitRange and ResourceQuota: what one pod may ask for, and all of a namespace together."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from holdfast.kinds.definitions.container import RESOURCES as COMPUTE
from holdfast.kinds.definitions.container import resource_name
from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import amount, fill_absent, qualified_texts
from holdfast.machinery.fielderror import FieldError, child, duplicate, forbidden, invalid, key, required
from holdfast.machinery.fielderror import index as position

SIDES = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
TYPES = ("Pod", "Container", "PersistentVolumeClaim")
COUNTED = (
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
)
_SPENT = (*COMPUTE, *(f"{side}.{name}" for side in ("requests", "limits") for name in COMPUTE))
QUOTA = (*COUNTED, *_SPENT, "requests.storage")
STANDARD = (*QUOTA, "storage")
_OF_PODS = ("pods", "cpu", "memory", *(f"{side}.{name}" for side in ("requests", "limits") for name in ("cpu", "memory")))
SCOPES = {
    "Terminating": _OF_PODS,
    "NotTerminating": _OF_PODS,
    "BestEffort": ("pods",),
    "NotBestEffort": _OF_PODS,
    "PriorityClass": _OF_PODS,
    "CrossNamespacePodAffinity": _OF_PODS,
    "VolumeAttributesClass": ("persistentvolumeclaims", "requests.storage"),
}
"""The resources that each scope can narrow down."""
_OPPOSED = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_PLAIN_SCOPES = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity")
_PLAIN_TEXT = "must be 'Exist' when scope is any of " + (
    "ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort,"
    " ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def _limit_defaults(item: dict[str, Any]) -> None:
    """A container's limit is the greatest by default, and its request the limit."""
    if item.get("type") != "Container":
        return
    default = {**(item.get("max") or {}), **(item.get("default") or {})}
    request = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
    item |= {name: amounts for name, amounts in (("default", default), ("defaultRequest", request)) if amounts}


def _check_type(path: str, value: str) -> list[FieldError]:
    found = [invalid(path, value, text) for text in qualified_texts(value)]
    if not found and "/" not in value and value not in TYPES:
        found.append(invalid(path, value, "must be a standard limit type or fully qualified"))
    return found


def _check_limits(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for at, item in enumerate(spec.get("limits") or []):
        here = position(child(path, "limits"), at)
        kind = str(item.get("type") or "")
        found += _check_type(child(here, "type"), kind)
        if kind in seen:
            found.append(duplicate(child(here, "type"), kind))
        seen.add(kind)
        found += _check_item(item, kind, here)
    return found


def _check_item(item: dict[str, Any], kind: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for side in SIDES:
        if kind == "Pod" and side.startswith("default") and item.get(side):
            found.append(forbidden(child(path, side), "may not be specified when `type` is 'Pod'"))
            continue
        for name in item.get(side) or {}:
            place = key(child(path, side), name)
            found += resource_name(place, name) if kind in ("Pod", "Container") else _standard_name(place, name)
    if kind == "PersistentVolumeClaim" and not any("storage" in (item.get(side) or {}) for side in ("min", "max")):
        text = "either minimum or maximum storage value is required, but neither was provided"
        found.append(required(child(path, "limits"), text))
    for name in dict.fromkeys(name for side in SIDES for name in item.get(side) or {}):
        found += _check_order(item, name, path)
    return found


def _check_order(item: dict[str, Any], name: str, path: str) -> list[FieldError]:
    """min <= request <= default <= max, of one resource; and a ratio that these leave room for."""
    texts = {side: (item.get(side) or {}).get(name) for side in SIDES}
    numbers = {side: amount(text) for side, text in texts.items()}
    rules = (
        ("min", "max", "min", "min", "min value {} is greater than max value {}"),
        ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min value {} is greater than default request value {}"),
        ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value {} is greater than max value {}"),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "defaultRequest",
            "default request value {} is greater than default limit value {}",
        ),
        ("min", "default", "default", "min", "min value {} is greater than default value {}"),
        ("default", "max", "default", "max", "default value {} is greater than max value {}"),
    )
    found: list[FieldError] = []
    for low, high, place, shown, text in rules:
        less, more = numbers[low], numbers[high]
        if less is not None and more is not None and less > more:
            found.append(invalid(key(child(path, place), name), texts[shown], text.format(texts[low], texts[high])))
    ratio, least, most = numbers["maxLimitRequestRatio"], numbers["min"], numbers["max"]
    here = key(child(path, "maxLimitRequestRatio"), name)
    given = texts["maxLimitRequestRatio"]
    if ratio is not None and ratio < 1:
        found.append(invalid(here, given, f"ratio {given} is less than 1"))
    if ratio is not None and least and most is not None and ratio > most / least:
        found.append(invalid(here, given, f"ratio {given} is greater than max/min = {float(most / least):f}"))
    return found


def _standard_name(path: str, name: str) -> list[FieldError]:
    found = [invalid(path, name, text) for text in qualified_texts(name)]
    if not found and "/" not in name and name not in STANDARD and "hugepages-" not in name:
        found.append(invalid(path, name, "must be a standard resource type or fully qualified"))
    return found


def check_hard(amounts: dict[str, Any], path: str) -> list[FieldError]:
    """Names and amounts of a quota; of what it reports as used, too."""
    found: list[FieldError] = []
    for name, text in amounts.items():
        here = key(path, name)
        found += _standard_name(here, name)
        if "/" not in name and name not in QUOTA and not name.removeprefix("requests.").startswith("hugepages-"):
            found.append(invalid(here, name, "must be a standard resource for quota"))
        number = amount(text)
        if number is not None and number < 0:
            found.append(invalid(here, text, "must be greater than or equal to 0"))
        if number is not None and name in COUNTED and Fraction(number).denominator != 1:
            found.append(invalid(here, text, "must be an integer"))
    return found


def _check_quota(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    hard, scopes = spec.get("hard") or {}, spec.get("scopes") or []
    found = check_hard(hard, child(path, "hard"))
    here = child(path, "scopes")
    if any(scope not in SCOPES for scope in scopes):
        found.append(invalid(here, scopes, "unsupported scope"))
    if any(name in QUOTA and name not in SCOPES[scope] for scope in SCOPES if scope in scopes for name in hard):
        found.append(invalid(here, scopes, "unsupported scope applied to resource"))
    found += [invalid(here, scopes, "conflicting scopes") for pair in _OPPOSED if pair <= set(scopes)]
    return found + _check_scope_selector(spec.get("scopeSelector") or {}, child(path, "scopeSelector"))


def _check_scope_selector(selector: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for expression in selector.get("matchExpressions") or []:
        scope, operator, values = expression.get("scopeName") or "", expression.get("operator") or "", expression.get("values") or []
        if scope not in SCOPES:
            found.append(invalid(child(path, "scopeName"), scope, "unsupported scope"))
        if scope in _PLAIN_SCOPES and operator != "Exists":
            found.append(invalid(child(path, "operator"), operator, _PLAIN_TEXT))
        if operator in ("In", "NotIn"):
            if not values:
                text = "must be atleast one value when `operator` is 'In' or 'NotIn' for scope selector"
                found.append(required(child(path, "values"), text))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                found.append(invalid(child(path, "values"), values, text))
        else:
            found.append(invalid(child(path, "operator"), operator, "not a valid selector operator"))
    return found


def _quota_defaults(quota: dict[str, Any]) -> None:
    fill_absent(quota, spec={}, status={})


overlay(CORE + "LimitRange", defaults={"spec": {}})
overlay(CORE + "LimitRangeItem", defaulter=_limit_defaults, optional=("type",))
overlay(CORE + "LimitRangeSpec", checks=(_check_limits,), optional=("limits",))
overlay(CORE + "ResourceQuota", defaulter=_quota_defaults)
overlay(CORE + "ResourceQuotaSpec", checks=(_check_quota,))
overlay(CORE + "ScopedResourceSelectorRequirement", optional=("operator", "scopeName"))
