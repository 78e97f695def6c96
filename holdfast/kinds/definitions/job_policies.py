"""When a Job's pod failures end it, are forgiven or counted; and which successes are enough."""

from __future__ import annotations

import re
from typing import Any

from holdfast.kinds.definitions.overlay import BATCH, overlay
from holdfast.kinds.definitions.rules import fill, items, not_negative, qualified, unsupported
from holdfast.machinery.fielderror import OMITTED, FieldError, child, duplicate, index, invalid, required, too_long, too_many

ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
MOST_RULES = MOST_PATTERNS = 20
MOST_CODES = 255
LONGEST_INDEXES = 64 * 1024
_INTERVAL = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def _listed(values: tuple[str, ...]) -> str:
    return "valid values: [" + " ".join(f'"{value}"' for value in values) + "]"


def _known(path: str, value: Any, allowed: tuple[str, ...]) -> list[FieldError]:
    if not value:
        return [required(path, _listed(allowed))]
    return [] if value in allowed else [unsupported(path, value, allowed)]


def check_failure_policy(spec: dict[str, Any], path: str) -> list[FieldError]:
    policy = spec.get("podFailurePolicy")
    if policy is None:
        return []
    here = child(path, "podFailurePolicy")
    rules = policy.get("rules") or []
    found = [too_many(child(here, "rules"), len(rules), MOST_RULES)] if len(rules) > MOST_RULES else []
    template = (spec.get("template") or {}).get("spec") or {}
    names = {c.get("name") for group in ("containers", "initContainers") for c in template.get(group) or []}
    for rule, place in items(policy, here, "rules"):
        found += _check_rule(rule, place, names, spec.get("backoffLimitPerIndex") is not None)
    return found


def _check_rule(rule: dict[str, Any], path: str, names: set[Any], indexed: bool) -> list[FieldError]:
    action, codes, conditions = rule.get("action"), rule.get("onExitCodes"), rule.get("onPodConditions") or []
    found = _known(child(path, "action"), action, ACTIONS)
    if action == "FailIndex" and not indexed:
        found.append(invalid(child(path, "action"), action, "requires the backoffLimitPerIndex to be set"))
    if codes is not None:
        found += _check_codes(codes, child(path, "onExitCodes"), names)
    if len(conditions) > MOST_PATTERNS:
        found.append(too_many(child(path, "onPodConditions"), len(conditions), MOST_PATTERNS))
    for pattern, place in items(rule, path, "onPodConditions"):
        found += qualified(child(place, "type"), pattern.get("type") or "")
        found += _known(child(place, "status"), pattern.get("status"), ("False", "True", "Unknown"))
    if codes is not None and conditions:
        found.append(invalid(path, OMITTED, "specifying both OnExitCodes and OnPodConditions is not supported"))
    if codes is None and not conditions:
        found.append(invalid(path, OMITTED, "specifying one of OnExitCodes and OnPodConditions is required"))
    return found


def _check_codes(codes: dict[str, Any], path: str, names: set[Any]) -> list[FieldError]:
    operator, values, here = codes.get("operator"), codes.get("values") or [], child(path, "values")
    found = _known(child(path, "operator"), operator, ("In", "NotIn"))
    container = codes.get("containerName")
    if container is not None and container not in names:
        text = "must be one of the container or initContainer names in the pod template"
        found.append(invalid(child(path, "containerName"), container, text))
    if not values:
        found.append(invalid(here, values, "at least one value is required"))
    elif len(values) > MOST_CODES:
        found.append(too_many(here, len(values), MOST_CODES))
    seen: set[int] = set()
    for position, value in enumerate(values):
        if operator == "In" and value == 0:
            found.append(invalid(index(here, position), value, "must not be 0 for the In operator"))
        if value in seen:
            found.append(duplicate(index(here, position), value))
        seen.add(value)
    return found if values == sorted(values) else [*found, invalid(here, values, "must be ordered")]


def check_success_policy(spec: dict[str, Any], path: str) -> list[FieldError]:
    policy = spec.get("successPolicy")
    if policy is None:
        return []
    here = child(path, "successPolicy")
    rules = policy.get("rules") or []
    found: list[FieldError] = []
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        found.append(required(child(here, "rules"), text))
    if len(rules) > MOST_RULES:
        found.append(too_many(child(here, "rules"), len(rules), MOST_RULES))
    for rule, place in items(policy, here, "rules"):
        found += _check_success(rule, place, spec.get("completions") or 0)
    return found


def _check_success(rule: dict[str, Any], path: str, completions: int) -> list[FieldError]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        return [required(path, "at least one of succeededCount or succeededIndexes must be specified")]
    found: list[FieldError] = []
    total = 0
    if indexes is not None:
        here = child(path, "succeededIndexes")
        if len(indexes) > LONGEST_INDEXES:
            return [too_long(here, indexes, LONGEST_INDEXES)]
        try:
            total = count_indexes(indexes, completions)
        except ValueError as error:
            found.append(invalid(here, indexes, f"error parsing succeededIndexes: {error}"))
    if count is not None:
        here = child(path, "succeededCount")
        found += not_negative(here, count)
        if count > completions:
            text = f"must be less than or equal to {completions} (the number of specified completions)"
            found.append(invalid(here, count, text))
        if indexes is not None and count > total:
            text = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            found.append(invalid(here, count, text))
    return found


def count_indexes(text: str, completions: int) -> int:
    """How many indexes ``0-3,5`` names. Raises ValueError: they must rise and be of the job."""
    total, last = 0, -1
    for interval in text.split(",") if text else []:
        match = _INTERVAL.fullmatch(interval)
        if match is None:
            raise ValueError(f'cannot convert string to integer for index: "{interval}"')
        low, high = int(match[1]), int(match[2] or match[1])
        if low >= completions or high >= completions:
            raise ValueError(f'too large index: "{interval}"')
        if high < low or (match[2] is not None and high == low):
            raise ValueError(f"non-increasing order, previous: {low}, current: {high}")
        if low <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {low}")
        total, last = total + high - low + 1, high
    return total


def _pattern_defaults(pattern: dict[str, Any]) -> None:
    fill(pattern, status="True")


overlay(BATCH + "PodFailurePolicyOnPodConditionsPattern", defaulter=_pattern_defaults, optional=("status", "type"))
overlay(BATCH + "PodFailurePolicyRule", optional=("action",))
overlay(BATCH + "PodFailurePolicy", optional=("rules",))
overlay(BATCH + "PodFailurePolicyOnExitCodesRequirement", optional=("operator", "values"))
overlay(BATCH + "SuccessPolicy", optional=("rules",))
