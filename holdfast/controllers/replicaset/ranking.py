"""Which pods of a set go first when it has too many, by upstream's rules and in their order. Pure.

What does the least good goes first: without a node, not running, not ready; then what its author values least; then where
many of a kind are together; then the young. Ages count by their order of magnitude only, so that of pods of about the same age
any may go: always the youngest would, after a rollout, be always those of one node.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping

from holdfast.controllers import pods as state
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta

COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_LIMIT = 2**31


def cost(pod: Obj) -> int:
    """What the pod's author says its deletion costs; 0 when he says nothing that can be understood."""
    text = meta.annotations_of(pod).get(COST, "")
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 10 or (len(digits) > 1 and digits[0] == "0"):
        return 0
    value = int(text)
    return value if -_LIMIT <= value < _LIMIT else 0


def first_to_go(pods: Iterable[Obj], near: Mapping[str, int], now: float) -> list[Obj]:
    """``pods`` in the order in which they should go. ``near``: by node, how many active pods of the same kind are on it."""

    def compare(one: Obj, other: Obj) -> int:
        a, b = _standing(one, near), _standing(other, near)
        if a != b:
            return -1 if a < b else 1
        return _younger(_ready(one), _ready(other), one, other, now) or _by_restarts_and_age(one, other, now)

    return sorted(sorted(pods, key=meta.name), key=functools.cmp_to_key(compare))


def _standing(pod: Obj, near: Mapping[str, int]) -> tuple[int, ...]:
    node = pod["spec"].get("nodeName") or ""
    return bool(node), _PHASES.get(state.phase(pod), 0), state.is_ready(pod), cost(pod), -near.get(node, 0)


def _ready(pod: Obj) -> float:
    return state.ready_since(pod) if state.is_ready(pod) else 0.0


def _created(pod: Obj) -> float:
    stamp = pod["metadata"].get("creationTimestamp")
    return parse_rfc3339(stamp) if stamp else 0.0


def _by_restarts_and_age(one: Obj, other: Obj, now: float) -> int:
    left, right = _restarts(one), _restarts(other)
    if left != right:
        return -1 if left > right else 1
    return _younger(_created(one), _created(other), one, other, now)


def _younger(left: float, right: float, one: Obj, other: Obj, now: float) -> int:
    """Of two moments (0 = none) the later first, by the order of magnitude of what has passed since; 0 when they are the same."""
    if left == right:
        return 0
    if not left or not right:
        return -1 if not left else 1
    a, b = _magnitude(now - left), _magnitude(now - right)
    if a == b:
        return -1 if meta.uid(one) < meta.uid(other) else 1
    return -1 if a < b else 1


def _magnitude(seconds: float) -> int:
    nanoseconds = round(seconds * 1e9)
    return int(math.log2(nanoseconds)) if nanoseconds > 0 else -1


def _restarts(pod: Obj) -> tuple[int, int]:
    """The most of a container, then the most of a sidecar."""
    status = pod.get("status") or {}
    sidecars = {c["name"] for c in pod["spec"].get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    helpers = [c for c in status.get("initContainerStatuses") or [] if c["name"] in sidecars]
    most = [max((c.get("restartCount", 0) for c in group), default=0) for group in (status.get("containerStatuses") or [], helpers)]
    return most[0], most[1]
