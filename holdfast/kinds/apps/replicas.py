"""What kinds with a number of equal pods share: the scale subresource, columns, and what a status may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.kinds.columns import AGE, NAME, at, containers
from holdfast.kinds.definitions.rules import IMMUTABLE, not_negative
from holdfast.kinds.kind import Column, Obj, Subresource
from holdfast.machinery import selectors
from holdfast.machinery.fielderror import FieldError, invalid
from holdfast.machinery.schema import Check

STATUS = Subresource("status", ("get", "patch", "update"))
SET_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
TEMPLATE = ("spec", "template", "spec")


def scale(selects: Callable[[Mapping[str, Any] | None], selectors.LabelSelector] = selectors.from_object) -> Subresource:
    """``selects`` reads spec.selector: a LabelSelector, or a plain map of labels."""
    return Subresource(
        "scale",
        ("get", "patch", "update"),
        kind="Scale",
        group="autoscaling",
        version="v1",
        replicas_path=("spec", "replicas"),
        selects=selects,
    )


def selector_cell(selects: Callable[[Mapping[str, Any] | None], selectors.LabelSelector]) -> Column:
    return Column(
        "Selector",
        lambda obj, _now: str(selects(obj["spec"].get("selector") or {})) or "<none>",
        priority=1,
        description="Labels of its pods.",
    )


def replica_columns(selects: Callable[[Mapping[str, Any] | None], selectors.LabelSelector]) -> tuple[Column, ...]:
    """A ReplicaSet's and a ReplicationController's."""
    return (
        NAME,
        Column("Desired", at("spec", "replicas", default=0), type="integer", description="Pods wanted."),
        Column("Current", at("status", "replicas", default=0), type="integer", description="Pods there are."),
        Column("Ready", at("status", "readyReplicas", default=0), type="integer", description="Pods that are ready."),
        AGE,
        *containers(TEMPLATE),
        selector_cell(selects),
    )


def fixed_selector(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """Which pods are its own is decided once."""
    if old is None or new["spec"].get("selector") == old["spec"].get("selector"):
        return []
    return [invalid("spec.selector", new["spec"].get("selector"), IMMUTABLE)]


def counts(fields: Sequence[str], within: Sequence[tuple[str, str]] = ()) -> Check:
    """A check of the status: no negative count, none greater than the one that ``within`` pairs it with (in upstream's words)."""

    def check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
        status = new.get("status") or {}
        found = [error for field in fields for error in not_negative(f"status.{field}", status.get(field))]
        for field, whole in within:
            if (status.get(field) or 0) > (status.get(whole.removeprefix("status.")) or 0):
                found.append(invalid(f"status.{field}", status.get(field) or 0, f"cannot be greater than {whole}"))
        return found

    return check


def within_replicas(*fields: str) -> list[tuple[str, str]]:
    """These are parts of ``replicas``; available pods are ready ones."""
    return [(field, "status.replicas") for field in fields] + [("availableReplicas", "readyReplicas")]


def collisions(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """The count that makes names of children unique never goes back."""
    before, now = ((old or {}).get("status") or {}).get("collisionCount"), (new.get("status") or {}).get("collisionCount")
    if before is not None and (now is None or now < before):
        return [invalid("status.collisionCount", now or 0, "cannot be decremented")]
    return []
