"""Which volume a claim takes, for the binder and for the scheduler alike. Pure.

(features 2.1: class, modes, mode, attributes, size with the smallest fit, selector, node affinity, pre-binding from both sides.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from holdfast.client.informer import Informer
from holdfast.kinds.core.claims import class_of
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, quantity, selectors


def refers(volume: Obj, claim: Obj) -> bool:
    """Whether the volume's claimRef names this very claim (or one of its name, with no uid given yet)."""
    reference = volume["spec"].get("claimRef")
    if not reference:
        return False
    same = (reference.get("namespace"), reference.get("name")) == (meta.namespace(claim), meta.name(claim))
    return same and reference.get("uid") in (None, "", meta.uid(claim))


INDEX = "match"
"""Index of volumes: for whom they could be (``index``)."""


def index(volume: Obj) -> list[str]:
    """One that names a claim is found by that, any other by its class: there may be very many of both."""
    reference = volume["spec"].get("claimRef")
    return [f"for {reference.get('namespace')}/{reference.get('name')}" if reference else f"of {class_of(volume)}"]


def candidates(volumes: Informer, claim: Obj) -> list[Obj]:
    """Those that ``choose`` may look at, by the index."""
    return [*volumes.by_index(INDEX, f"for {meta.key(claim)}"), *volumes.by_index(INDEX, f"of {class_of(claim)}")]


def is_bound(claim: Obj) -> bool:
    return bool(claim["spec"].get("volumeName")) and (claim.get("status") or {}).get("phase") == "Bound"


def mode_of(obj: Obj) -> str:
    return str(obj["spec"].get("volumeMode") or "Filesystem")


def size_of(volume: Obj) -> int:
    return quantity.to_int((volume["spec"].get("capacity") or {}).get("storage") or "0")


def asked_by(claim: Obj) -> int:
    return quantity.to_int(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage") or "0")


def reaches(volume: Obj, node: Obj) -> bool:
    """Whether a volume can be used on a node, by the node's labels."""
    required = ((volume["spec"].get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms")
    return not required or selectors.matches_terms(required, meta.labels_of(node))


def mismatch(volume: Obj, claim: Obj) -> str:
    """Why a volume that a claim names is not for it, in upstream's words; "" when it is."""
    if meta.is_terminating(volume):
        return f'the volume is marked for deletion "{meta.name(volume)}"'
    if size_of(volume) < asked_by(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if _attributes(volume) != _attributes(claim):
        return "volumeAttributesClassName does not match"
    if mode_of(volume) != mode_of(claim):
        return "incompatible volumeMode"
    return "" if _grants(volume, claim) else "incompatible accessMode"


def _attributes(obj: Obj) -> str:
    return str(obj["spec"].get("volumeAttributesClassName") or "")


def _grants(volume: Obj, claim: Obj) -> bool:
    return set(claim["spec"].get("accessModes") or []) <= set(volume["spec"].get("accessModes") or [])


def _serves(volume: Obj, claim: Obj) -> bool:
    """What even a reservation does not replace."""
    alike = mode_of(volume) == mode_of(claim) and _attributes(volume) == _attributes(claim)
    return alike and _grants(volume, claim) and size_of(volume) >= asked_by(claim)


def fits(volume: Obj, claim: Obj) -> bool:
    """Whether a volume that nobody has spoken for would do."""
    selector = claim["spec"].get("selector")
    if selector is not None and not selectors.from_object(selector).matches(meta.labels_of(volume)):
        return False
    return class_of(volume) == class_of(claim) and _serves(volume, claim)


def choose(
    claim: Obj, volumes: Iterable[Obj], *, node: Obj | None = None, reserved_only: bool = False, taken: Collection[str] = ()
) -> Obj | None:
    """The volume that a claim without a volumeName should be bound to; None when there is none yet.

    ``node``: only one that can be used there. ``reserved_only``: none but those that name the claim. ``taken``: names of volumes
    that are as good as gone. One that names the claim but lies elsewhere than ``node`` rules all others out.
    """
    candidates = [v for v in volumes if not meta.is_terminating(v) and meta.name(v) not in taken]
    # One that has the claim's uid is half bound already: that is only finished.
    mine = [v for v in candidates if refers(v, claim)]
    begun = [v for v in mine if v["spec"]["claimRef"].get("uid")]
    reserved = begun or [v for v in mine if _serves(v, claim)]
    if reserved:
        found = min(reserved, key=meta.name)
        return found if node is None or reaches(found, node) else None
    if reserved_only:
        return None
    free = [v for v in candidates if _is_free(v) and fits(v, claim) and (node is None or reaches(v, node))]
    # Those that grant no more than is needed go first, whatever their size: the others may be the only ones for somebody else.
    return min(free, key=lambda v: (len(set(v["spec"]["accessModes"])), size_of(v), meta.name(v)), default=None)


def _is_free(volume: Obj) -> bool:
    return not volume["spec"].get("claimRef") and (volume.get("status") or {}).get("phase") == "Available"
