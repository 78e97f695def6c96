"""How many pods of a budget may go. Pure. (KEP-85 budgets, KEP-3017 unhealthy pods, KEP-3329 DisruptionTarget.)

A budget says how many of the *wanted* pods must be there (or may be missing); how many are wanted is what their owners
say, not how many happen to exist. An evicted pod counts as gone from the moment of the eviction (``disruptedPods``), which
the registry wrote, until it is gone or two minutes have shown that it will not go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.controllers.pods import has_ended
from holdfast.kinds.definitions.rules import share
from holdfast.kinds.kind import Obj
from holdfast.kinds.policy.allowed import with_condition
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta

DELETION_SECONDS = 120.0
TARGET = "DisruptionTarget"


class CountError(Exception):
    """How many pods are wanted cannot be told; the text says why."""


@dataclass(frozen=True)
class Expectation:
    expected: int
    desired: int
    unmanaged: tuple[str, ...] = ()
    """Names of pods that nobody keeps up: how many of them are wanted, nobody says."""


def expectation(budget: Obj, pods: Iterable[Obj], scales: Mapping[str, tuple[str, int]]) -> Expectation:
    """``scales``: by the uid of the pods' controllers, who says how many are wanted (its uid) and how many. Raises CountError."""
    spec, pods = budget["spec"], [*pods]
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most is None and least is None:
        return Expectation(0, 0)
    if most is None and isinstance(least, int):
        return Expectation(len(pods), least)
    wanted: dict[str, int] = {}
    unmanaged = []
    for pod in pods:
        owner = meta.controller_of(pod)
        if owner is None:
            unmanaged.append(meta.name(pod))
        elif owner["uid"] in scales:
            who, replicas = scales[owner["uid"]]
            wanted[who] = replicas
        else:
            raise CountError(f'found no controllers for pod "{meta.name(pod)}"')
    expected = sum(wanted.values())
    desired = share(least, expected, up=True) if most is None else max(expected - share(most, expected, up=True), 0)
    return Expectation(expected, desired, tuple(unmanaged))


@dataclass(frozen=True)
class Disrupted:
    pods: Mapping[str, str]
    """When each was evicted, of those whose deletion is still to be seen."""
    overdue: tuple[str, ...]
    """Evicted, and still there after all this time."""
    again_at: float | None
    """When the next of ``pods`` is overdue."""


def disrupted(budget: Obj, pods: Iterable[Obj], now: float) -> Disrupted:
    told = (budget.get("status") or {}).get("disruptedPods") or {}
    kept: dict[str, str] = {}
    overdue, ends = [], []
    for pod in pods:
        stamp = told.get(meta.name(pod))
        if stamp is None or meta.is_terminating(pod):
            continue
        end = parse_rfc3339(stamp) + DELETION_SECONDS
        if end <= now:
            overdue.append(meta.name(pod))
            continue
        kept[meta.name(pod)] = stamp
        ends.append(end)
    return Disrupted(kept, tuple(overdue), min(ends, default=None))


def healthy(pods: Iterable[Obj], gone: Mapping[str, str]) -> int:
    return sum(not meta.is_terminating(pod) and meta.name(pod) not in gone and meta.condition_true(pod, "Ready") for pod in pods)


def status(budget: Obj, wanted: Expectation, there: int, gone: Mapping[str, str], now: str) -> Obj:
    allowed = max(there - wanted.desired, 0) if wanted.expected > 0 else 0
    generation = budget["metadata"].get("generation", 0)
    new: Obj = {
        "observedGeneration": generation,
        "disruptionsAllowed": allowed,
        "currentHealthy": there,
        "desiredHealthy": wanted.desired,
        "expectedPods": wanted.expected,
        "conditions": (budget.get("status") or {}).get("conditions") or [],
    }
    if gone:
        new["disruptedPods"] = dict(gone)
    return with_condition(new, generation, now)


def failed(budget: Obj, why: str, now: str) -> Obj:
    """Nothing may go while nothing can be counted."""
    held = budget.get("status") or {}
    return with_condition({**held, "disruptionsAllowed": 0}, budget["metadata"].get("generation", 0), now, why)


def stale_since(pod: Obj) -> float | None:
    """When a pod was marked for a disruption that has not come: no deletion followed."""
    mark = meta.condition(pod, TARGET) or {}
    if mark.get("status") != "True" or mark.get("reason") == "TerminationByKubelet" or meta.is_terminating(pod) or has_ended(pod):
        return None
    return parse_rfc3339(mark["lastTransitionTime"]) if mark.get("lastTransitionTime") else 0.0
