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
    spec, wanted = volume["spec"], claim["spec"]
    if (spec.get("storageClassName") or "") != (wanted.get("storageClassName") or ""):
        return False
    if not set(wanted.get("accessModes") or []) <= set(spec.get("accessModes") or []):
        return False
    if spec.get("volumeMode", "Filesystem") != wanted.get("volumeMode", "Filesystem"):
        return False
    if quantity.parse(spec["capacity"]["storage"]) < quantity.parse(wanted["resources"]["requests"]["storage"]):
        return False
    return wanted.get("selector") is None or selectors.from_object(wanted["selector"]).matches(meta.labels_of(volume))


def choose(claim: Obj, volumes: Iterable[Obj]) -> Obj | None:
    """The volume the claim should be bound to; None when there is none yet."""
    candidates = [v for v in volumes if not meta.is_terminating(v)]
    named = claim["spec"].get("volumeName")
    if named:
        found = next((v for v in candidates if meta.name(v) == named), None)
        return found if found is not None and (not found["spec"].get("claimRef") or refers(found, claim)) else None
    reserved = [v for v in candidates if refers(v, claim)]
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
