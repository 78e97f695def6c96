"""What ``decide`` needs, from a set and lists of live objects, without writing: for ``holdfast why`` and ``holdfast plan``. Pure.

The controller finds the same, but adopts, releases, numbers and creates on its way (``controller``).
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.controllers.statefulset import conditions, objects, revisions
from holdfast.controllers.statefulset.decide import Seen
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, selectors


def take(owner: Obj, pods: Iterable[Obj], claims: Iterable[Obj], history: Iterable[Obj]) -> Seen:
    """``owner`` may be a set that is yet to be written, or whose new template has no revision yet."""
    status = owner.get("status") or {}
    mine = {meta.name(r): r for r in history if meta.is_controlled_by(r, owner)}
    update, collisions = _update_revision(owner, mine)
    mine[meta.name(update)] = update
    current = mine.get(status.get("currentRevision") or "", update)
    named = (meta.name(current), meta.name(update), conditions.last_complete(owner))
    templates = {name: revisions.template_of(r) for name, r in mine.items() if name in named}
    found = {meta.name(claim): claim for claim in claims}
    return Seen(owner, members(owner, pods), found, meta.name(current), meta.name(update), templates, collisions)


def members(owner: Obj, pods: Iterable[Obj]) -> list[Obj]:
    """Those it has, and orphans it would adopt."""
    wanted = selectors.from_object(owner["spec"].get("selector"))
    fitting = [pod for pod in pods if objects.is_member(owner, pod) and wanted.matches(meta.labels_of(pod))]
    return [p for p in fitting if meta.is_controlled_by(p, owner) or (meta.controller_of(p) is None and not meta.is_terminating(p))]


def _update_revision(owner: Obj, history: dict[str, Obj]) -> tuple[Obj, int]:
    status = owner.get("status") or {}
    collisions = int(status.get("collisionCount") or 0)
    named = history.get(status.get("updateRevision") or "")
    if named is not None and status.get("observedGeneration") == owner["metadata"].get("generation"):
        return named, collisions
    ordered = revisions.in_order([*history.values()])
    newest = ordered[-1]["revision"] if ordered else 0
    wanted = revisions.build(owner, newest + 1, collisions)
    same = revisions.find(ordered, wanted)
    if same is not None:
        return same, collisions
    while meta.name(wanted) in history:
        collisions += 1
        wanted = revisions.build(owner, newest + 1, collisions)
    return wanted, collisions
