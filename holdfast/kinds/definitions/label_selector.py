"""Label selectors, wherever they appear, and the ObjectMeta of templates."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import META, overlay
from holdfast.kinds.definitions.rules import labels, qualified
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid, required


def _check_selector(selector: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    return labels(child(path, "matchLabels"), selector.get("matchLabels"))


def _check_requirement(requirement: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    operator, values = requirement.get("operator") or "", requirement.get("values") or []
    here = child(path, "values")
    found: list[FieldError] = []
    if operator in ("In", "NotIn"):
        if not values:
            found.append(required(here, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            found.append(forbidden(here, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
    else:
        found.append(invalid(child(path, "operator"), operator, "not a valid selector operator"))
    found += qualified(child(path, "key"), requirement.get("key") or "")
    for position, value in enumerate(values):
        found += [invalid(index(here, position), value, text) for text in names.label_value(str(value))]
    return found


overlay(META + "LabelSelector", checks=(_check_selector,))
overlay(META + "LabelSelectorRequirement", checks=(_check_requirement,), optional=("key", "operator"))
