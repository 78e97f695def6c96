"""Which parts of a pod may change after its creation, and how.

A pod is an act, not a wish: its node has started what the spec said. Only images, a shorter deadline,
more tolerations and the removal of scheduling gates (with tighter node selection while gated) are allowed.
"""

from __future__ import annotations

import copy

from holdfast.kinds.diffs import changed
from holdfast.kinds.kind import Obj
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid

TEXT = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def check_update(new: Obj, old: Obj, path: str = "spec") -> list[FieldError]:
    before, after = old["spec"], new["spec"]
    for group in ("containers", "initContainers"):
        if len(before.get(group) or []) != len(after.get(group) or []):
            return [forbidden(child(path, group), "pod updates may not add or remove containers")]
    found = _deadline(after, before, path) + _tolerations(after, before, path) + _gates(after, before, path)
    munged = _with_allowed_changes(after, before)
    if munged != {k: v for k, v in before.items() if k != "schedulingGates"}:
        found.append(forbidden(path, f"{TEXT}\n{changed(before, munged)}"))
    return found


def _with_allowed_changes(after: Obj, before: Obj) -> Obj:
    """The new spec with every allowed change undone: what differs now is forbidden."""
    munged = copy.deepcopy(after)
    for group in ("containers", "initContainers"):
        for container, was in zip(munged.get(group) or [], before.get(group) or [], strict=True):
            container["image"] = was.get("image")
    allowed = ["activeDeadlineSeconds", "tolerations"]
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and after.get("terminationGracePeriodSeconds") == 1:
        allowed.append("terminationGracePeriodSeconds")
    if before.get("schedulingGates"):
        # A gated pod has met no scheduler yet, so its node selection may still be narrowed.
        if (before.get("nodeSelector") or {}).items() <= (after.get("nodeSelector") or {}).items():
            allowed.append("nodeSelector")
        if not (before.get("affinity") or {}).get("nodeAffinity"):
            allowed.append("affinity")
    for name in allowed:
        munged.pop(name, None)
        if name in before:
            munged[name] = before[name]
    munged.pop("schedulingGates", None)
    return munged


def _deadline(after: Obj, before: Obj, path: str) -> list[FieldError]:
    was, now = before.get("activeDeadlineSeconds"), after.get("activeDeadlineSeconds")
    here = child(path, "activeDeadlineSeconds")
    if was is None or was == now:
        return []
    if now is None:
        return [invalid(here, None, "must not update from a positive integer to nil value")]
    return [invalid(here, now, "must be less than or equal to previous value")] if now > was else []


def _tolerations(after: Obj, before: Obj, path: str) -> list[FieldError]:
    """Additions only; the seconds of one that is kept may change."""

    def identity(toleration: Obj) -> Obj:
        return {k: v for k, v in toleration.items() if k != "tolerationSeconds"}

    kept = [identity(toleration) for toleration in after.get("tolerations") or []]
    if all(identity(toleration) in kept for toleration in before.get("tolerations") or []):
        return []
    return [forbidden(child(path, "tolerations"), "existing toleration can not be modified except its tolerationSeconds")]


def _gates(after: Obj, before: Obj, path: str) -> list[FieldError]:
    known = {gate.get("name") for gate in before.get("schedulingGates") or []}
    return [
        forbidden(
            index(child(path, "schedulingGates"), position),
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'",
        )
        for position, gate in enumerate(after.get("schedulingGates") or [])
        if gate.get("name") not in known
    ]
