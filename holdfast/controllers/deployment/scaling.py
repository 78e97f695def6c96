"""How many pods each ReplicaSet of a Deployment shall have. Pure arithmetic. (Upstream's rolling update and proportional scaling.)

Two bounds hold: never more in all than wanted and ``maxSurge``, never fewer available than wanted less ``maxUnavailable``. Sizes
are a dict by name; a function gives those that it changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.controllers.deployment import objects
from holdfast.controllers.replicaset.decide import replicas
from holdfast.kinds.definitions.rules import share
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

Sizes = dict[str, int]


def is_rolling(owner: Obj) -> bool:
    return str((owner["spec"].get("strategy") or {}).get("type", "RollingUpdate")) == "RollingUpdate"


def _bounds(owner: Obj) -> tuple[int, int]:
    """(surge, absence). Shares of surge are rounded up, those of absence down; both must not be nothing."""
    rolling = (owner["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    wanted = replicas(owner)
    surge = share(rolling.get("maxSurge"), wanted, up=True)
    absence = share(rolling.get("maxUnavailable"), wanted, up=False)
    return surge, absence or (0 if surge else 1)


def max_surge(owner: Obj) -> int:
    return _bounds(owner)[0] if is_rolling(owner) else 0


def max_unavailable(owner: Obj) -> int:
    return min(_bounds(owner)[1], replicas(owner)) if is_rolling(owner) else 0


def most(owner: Obj) -> int:
    return replicas(owner) + max_surge(owner)


def size_of_new(owner: Obj, new: Obj, sets: Sequence[Obj]) -> int:
    """``new`` among ``sets`` grows as far as the surge allows; it shrinks at once."""
    wanted, there = replicas(owner), replicas(new)
    if not is_rolling(owner) or there >= wanted:
        return wanted
    room = most(owner) - sum(map(replicas, sets))
    return there + min(max(room, 0), wanted - there)


def _available(found: Obj) -> int:
    """Its available pods that stay: of more than it shall have, the others are on their way out."""
    return min(objects.count(found, "availableReplicas"), replicas(found))


def sizes_of_old(owner: Obj, new: Obj, old: Sequence[Obj]) -> Sizes:
    """Old ReplicaSets give way: first what is not available anyway, then as much as available pods are more than needed."""
    least = replicas(owner) - max_unavailable(owner)
    giving = objects.by_age(objects.active(old))
    coming = replicas(new) - _available(new)
    spare = sum(map(replicas, [*giving, new])) - least - coming
    if not giving or spare <= 0:
        return {}
    excess = sum(map(_available, [*giving, new])) - least
    sizes: Sizes = {}
    for each in giving:
        useless = min(spare, replicas(each) - _available(each))
        sizes[meta.name(each)] = replicas(each) - useless
        spare -= useless
    for name in sizes:
        gone = min(sizes[name], max(excess, 0))
        sizes[name] -= gone
        excess -= gone
    return {meta.name(each): sizes[meta.name(each)] for each in giving if sizes[meta.name(each)] != replicas(each)}


def sizes_when_scaled(owner: Obj, new: Obj | None, old: Sequence[Obj]) -> Sizes:
    """The Deployment was scaled, or is paused: sizes of all that must be told, by which no rollout goes on."""
    wanted = replicas(owner)
    only = _active_or_latest(new, old)
    if only is not None:
        return {meta.name(only): wanted}
    if new is not None and _is_saturated(owner, new):
        return {meta.name(each): 0 for each in objects.active(old)}
    if not is_rolling(owner):
        return {}
    sets = objects.active([*old, *([new] if new is not None else [])])
    return _in_proportion(owner, sets)


def _active_or_latest(new: Obj | None, old: Sequence[Obj]) -> Obj | None:
    """The one ReplicaSet that has pods, or if none has, the newest; None when there are several."""
    every = [*objects.by_age(old), *([new] if new is not None else [])]
    some = objects.active(every)
    if len(some) > 1:
        return None
    return some[0] if some else every[-1] if every else None


def _is_saturated(owner: Obj, new: Obj) -> bool:
    wanted = replicas(owner)
    return replicas(new) == objects.desired(new) == objects.count(new, "availableReplicas") == wanted


def _in_proportion(owner: Obj, sets: Sequence[Obj]) -> Sizes:
    """What is to be added or taken is dealt out by size: the largest first, and what is left over is the largest's."""
    allowed = most(owner) if replicas(owner) > 0 else 0
    change = allowed - sum(map(replicas, sets))
    aged = objects.by_age(sets)
    if change > 0:
        aged.reverse()  # of equal ones the newer grows first, the older shrinks first
    ordered = sorted(aged, key=replicas, reverse=True)
    sizes: Sizes = {}
    dealt = 0
    for each in ordered:
        part = _part(owner, each, change, dealt)
        sizes[meta.name(each)] = replicas(each) + part
        dealt += part
    if ordered:
        first = meta.name(ordered[0])
        sizes[first] = max(sizes[first] + change - dealt, 0)
    return sizes


def _part(owner: Obj, found: Obj, change: int, dealt: int) -> int:
    if change in (0, dealt):
        return 0
    if replicas(owner) == 0:
        fraction = -replicas(found)
    else:
        before = objects.maximum(found) or objects.count(owner, "replicas") or replicas(found)
        size = replicas(found) * most(owner) / before
        fraction = math.floor(size + 0.5) - replicas(found)
    return min(fraction, change - dealt) if change > 0 else max(fraction, change - dealt)
