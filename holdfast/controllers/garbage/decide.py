"""What becomes of an object, given what is known of its owners. Pure. (Upstream's garbage collection, features A10, P-16.)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


class Owner(Enum):
    """The state of one owner reference, from a live read by name and uid."""

    LIVES = "lives"
    WAITS = "waits"
    """Being deleted in the foreground: it waits for the dependents that block it."""
    GONE = "gone"
    UNKNOWN = "unknown"
    """Its kind is not served, or it could not be read: nothing may be concluded."""


@dataclass(frozen=True)
class Verdict:
    """``delete`` with ``policy`` ("" = leave), or ``keep`` these references only (None = leave them as they are)."""

    policy: str = ""
    keep: list[Obj] | None = field(default=None)


def is_waiting(obj: Obj) -> bool:
    return meta.is_terminating(obj) and FOREGROUND in (obj["metadata"].get("finalizers") or [])


def decide(obj: Obj, owners: Mapping[str, Owner], *, has_dependents: bool) -> Verdict:
    """``owners`` by uid, for each owner reference of ``obj``. One owner that lives keeps it."""
    references = obj["metadata"].get("ownerReferences") or []
    if not references or meta.is_terminating(obj):
        return Verdict()
    states = {reference["uid"]: owners[reference["uid"]] for reference in references}
    if Owner.UNKNOWN in states.values():
        return Verdict()
    if Owner.LIVES in states.values():
        kept = [r for r in references if states[r["uid"]] is Owner.LIVES]
        return Verdict(keep=kept) if len(kept) < len(references) else Verdict()
    if Owner.WAITS in states.values() and has_dependents:
        return Verdict(policy="Foreground")
    finalizers = obj["metadata"].get("finalizers") or []
    return Verdict(policy="Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background")


def blocks(dependent: Obj, owner: Obj) -> bool:
    """Whether the dependent holds up the foreground deletion of its owner."""
    return any(r["uid"] == meta.uid(owner) and r.get("blockOwnerDeletion") for r in dependent["metadata"].get("ownerReferences") or [])
