"""Templates of pods, and the selectors that must find the pods made from them: shared by every kind that makes pods.

A template's spec is a PodSpec and obeys its rules; what stands here depends on who owns the template. Pods that are
replaced when they end restart always and know no deadline; a Job's pods end, so its rules stand in ``job``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.pod_spec import check_mounts
from holdfast.kinds.definitions.rules import fill_absent, unsupported
from holdfast.machinery import selectors
from holdfast.machinery.fielderror import FieldError, child, forbidden, invalid

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def fill_template(spec: dict[str, Any]) -> None:
    """An absent template is an empty one: validation then says what it lacks."""
    fill_absent(spec, template={})
    fill_absent(spec["template"], metadata={}, spec={})


def template_labels(spec: dict[str, Any]) -> Any:
    return ((spec.get("template") or {}).get("metadata") or {}).get("labels")


def sound(selector: dict[str, Any] | None) -> bool:
    """Whether a label selector can be asked at all; what is wrong with its parts is reported with these."""
    expressions = (selector or {}).get("matchExpressions") or []
    return all(
        e.get("key") and e.get("operator") in OPERATORS and bool(e.get("values")) is (e["operator"] in ("In", "NotIn"))
        for e in expressions
    )


def check_matches(selector: dict[str, Any] | None, spec: dict[str, Any], path: str) -> list[FieldError]:
    """Pods made from the template must be found again."""
    labels = template_labels(spec)
    if not sound(selector) or selectors.from_object(selector).matches(labels or {}):
        return []
    return [invalid(child(path, "template", "metadata", "labels"), labels, "`selector` does not match template `labels`")]


def check_selected(spec: dict[str, Any], path: str, owner: str, unsound: str = "") -> list[FieldError]:
    """``owner`` as upstream's texts name it; ``unsound`` is what it says of a selector that cannot be asked."""
    selector = spec.get("selector")
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return [invalid(child(path, "selector"), {}, f"empty selector is invalid for {owner}")]
    if not sound(selector):
        return [invalid(child(path, "selector"), selector, unsound)]
    return check_matches(selector, spec, path)


def check_made(spec: dict[str, Any], path: str, claims: Iterable[str] = ()) -> list[FieldError]:
    """What holds for every template; ``claims`` are volumes that its owner adds."""
    template = (spec.get("template") or {}).get("spec") or {}
    here = child(path, "template", "spec")
    found = check_mounts(template, here, claims)
    if template.get("ephemeralContainers"):
        found.append(forbidden(child(here, "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
    return found


def check_template(spec: dict[str, Any], path: str, owner: str, claims: Iterable[str] = ()) -> list[FieldError]:
    """A template whose pods run until somebody removes them."""
    template = (spec.get("template") or {}).get("spec") or {}
    here = child(path, "template", "spec")
    found = check_made(spec, path, claims)
    if template.get("restartPolicy") not in (None, "Always"):
        found.append(unsupported(child(here, "restartPolicy"), template["restartPolicy"], ("Always",)))
    if template.get("activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {owner} is not Supported"
        found.append(forbidden(child(here, "activeDeadlineSeconds"), text))
    return found


overlay(CORE + "PodTemplateSpec", defaults={"metadata": {}})
