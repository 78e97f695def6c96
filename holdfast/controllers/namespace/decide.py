"""What is left in a namespace that is being deleted, in the words of its conditions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from holdfast.kinds.kind import Obj, Resource

LATER = ("persistentvolumeclaims",)
"""Deleted only once the pods are gone: a claim outlives its users (R-65)."""


_TROUBLE = {
    "DeletionContentFailure": "ContentDeletionFailed",
    "ContentRemaining": "SomeResourcesRemain",
    "FinalizersRemaining": "SomeFinalizersRemain",
}


def _said(intro: str, parts: Iterable[str]) -> str:
    """One sentence; "" when there is nothing to say."""
    text = ", ".join(parts)
    return intro + text if text else ""


def order(resources: Iterable[Resource]) -> list[list[Resource]]:
    """Resources in steps: pods, then the rest, then what pods stand on. A step begins when the one before is empty of pods."""
    rest = [r for r in resources if r.plural != "pods" and r.plural not in LATER]
    pods = [r for r in resources if r.plural == "pods" and not r.group]
    later = [r for r in resources if r.plural in LATER]
    return [pods, rest, later]


def conditions(left: Mapping[Resource, list[Obj]], failures: list[str], held: Iterable[Obj], now: str) -> list[Obj]:
    """The five conditions upstream reports; a time of transition only moves with its status."""
    counts = [(f"{r.plural}.{r.group}", len(items)) for r, items in left.items() if items]
    remaining = _said(
        "Some resources are remaining: ",
        (f"{name} has {count} resource instances" for name, count in sorted(counts)),
    )
    finalizers = Counter(f for items in left.values() for obj in items for f in obj["metadata"].get("finalizers") or [])
    held_by = "Some content in the namespace has finalizers remaining: "
    holding = _said(held_by, (f"{name} in {count} resource instances" for name, count in sorted(finalizers.items())))
    failed = _said("Failed to delete all resource types: ", failures)
    wanted = [
        ("DeletionDiscoveryFailure", "", "ResourcesDiscovered", "All resources successfully discovered"),
        ("DeletionGroupVersionParsingFailure", "", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ("DeletionContentFailure", failed, "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ("ContentRemaining", remaining, "ContentRemoved", "All content successfully removed"),
        ("FinalizersRemaining", holding, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    ]
    before = {c["type"]: c for c in held}
    found = []
    for part, trouble, well, text in wanted:
        kind, status = f"Namespace{part}", "True" if trouble else "False"
        reason, message = (_TROUBLE[part], trouble) if trouble else (well, text)
        old = before.get(kind) or {}
        since = old.get("lastTransitionTime") if old.get("status") == status else now
        found.append({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since or now})
    return found
