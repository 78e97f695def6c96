"""Which volume a claim takes. Pure. (features 2.1: class, modes, mode, size with the smallest fit, selector, pre-binding.)"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, quantity, selectors


def refers(volume: Obj, claim: Obj) -> bool:
    """Whether the volume's claimRef names this very claim (or one of its name, with no uid given yet)."""
    reference = volume["spec"].get("claimRef")
    if not reference:
        return False
    same = (reference.get("namespace"), reference.get("name")) == (meta.namespace(claim), meta.name(claim))
    return same and reference.get("uid") in (None, "", meta.uid(claim))


def fits(volume: Obj, claim: Obj) -> bool:
    selector = claim["spec"].get("selector")
    if selector is not None and not selectors.from_object(selector).matches(meta.labels_of(volume)):
        return False
    return _same_class(volume, claim) and _serves(volume, claim)


def _same_class(volume: Obj, claim: Obj) -> bool:
    names = ("storageClassName", "volumeAttributesClassName")
    return all((volume["spec"].get(name) or "") == (claim["spec"].get(name) or "") for name in names)


def _serves(volume: Obj, claim: Obj) -> bool:
    """Large enough, of the mode, with the access wanted: what even a reservation does not replace."""
    spec, wanted = volume["spec"], claim["spec"]
    if not set(wanted.get("accessModes") or []) <= set(spec.get("accessModes") or []):
        return False
    if (spec.get("volumeMode") or "Filesystem") != (wanted.get("volumeMode") or "Filesystem"):
        return False
    return quantity.parse(spec["capacity"]["storage"]) >= quantity.parse(wanted["resources"]["requests"]["storage"])


def choose(claim: Obj, volumes: Iterable[Obj]) -> Obj | None:
    """The volume the claim should be bound to; None when there is none yet."""
    candidates = [v for v in volumes if not meta.is_terminating(v)]
    named = claim["spec"].get("volumeName")
    if named:
        found = next((v for v in candidates if meta.name(v) == named), None)
        if found is None or refers(found, claim):
            return found
        suits = not found["spec"].get("claimRef") and _same_class(found, claim) and _serves(found, claim)
        return found if suits else None
    # One that has the claim's uid is half bound already: that is only finished.
    begun = [v for v in candidates if refers(v, claim) and v["spec"]["claimRef"].get("uid")]
    reserved = begun or [v for v in candidates if refers(v, claim) and _serves(v, claim)]
    if reserved:
        return min(reserved, key=meta.name)
    free = [v for v in candidates if not v["spec"].get("claimRef") and fits(v, claim)]
    return min(free, key=lambda v: (quantity.parse(v["spec"]["capacity"]["storage"]), meta.name(v)), default=None)


def phase_of(volume: Obj, claim: Obj | None) -> str:
    """A volume's phase, given the claim (by uid) that its claimRef names."""
    reference = volume["spec"].get("claimRef")
    if not reference:
        return "Available"
    if not reference.get("uid"):
        return "Available"
    if claim is None or meta.uid(claim) != reference["uid"]:
        return "Released"
    return "Bound"
