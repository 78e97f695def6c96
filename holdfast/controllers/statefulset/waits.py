"""What a set waits for, as records: about what, why, since when, and what a person can do about it. Pure.

``decide`` makes one wherever its algorithm stops or leaves something out; ``status`` turns them into conditions and
``holdfast why`` into sentences. The object that shows a fact also says since when.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta


class Wait(NamedTuple):
    """``subject`` like ``pod/web-1``, ``reason`` one word, ``message`` a sentence, ``since`` a timestamp or "", ``remedy`` an order."""

    subject: str
    reason: str
    message: str
    since: str = ""
    remedy: str = ""


OUTDATED = "OutdatedMemberStuck"


def _pod(pod: Obj) -> str:
    return f"pod/{meta.name(pod)}"


def _in(obj: Obj) -> str:
    return f"-n {meta.namespace(obj)}"


def _created(obj: Obj) -> str:
    return str(obj["metadata"].get("creationTimestamp") or "")


def _dying_since(obj: Obj) -> str:
    return str(obj["metadata"].get("deletionTimestamp") or "")


def _ready_changed(pod: Obj) -> str:
    found: Any = meta.condition(pod, "Ready") or {}
    return str(found.get("lastTransitionTime") or _created(pod))


def _look(pod: Obj) -> str:
    return f"See what it lacks: holdfast why {_pod(pod)} {_in(pod)}"


def set_deleted(owner: Obj) -> Wait:
    held = ", ".join(owner["metadata"].get("finalizers") or []) or "nothing"
    message = f"the set is being deleted; held by {held}"
    return Wait(f"sts/{meta.name(owner)}", "SetTerminating", message, _dying_since(owner), "Wait for its finalizers to be removed")


def creating(name: str) -> Wait:
    return Wait(f"pod/{name}", "Creating", f"{name} is being created")


def ended(pod: Obj) -> Wait:
    end = (pod.get("status") or {}).get("phase")
    message = f"{meta.name(pod)} has ended ({end}) and is being replaced"
    logs = f"See why it ended: kubectl logs {meta.name(pod)} {_in(pod)} --all-containers"
    return Wait(_pod(pod), f"Pod{end}", message, _ready_changed(pod), logs)


def terminating(pod: Obj) -> Wait:
    return Wait(_pod(pod), "Terminating", f"{meta.name(pod)} is terminating", _dying_since(pod), _look(pod))


def not_ready(pod: Obj) -> Wait:
    return Wait(_pod(pod), "NotReady", f"{meta.name(pod)} is not Ready", _ready_changed(pod), _look(pod))


def stuck(pod: Obj) -> Wait:
    """kubernetes#67250: no sync gets past a member that is not Ready, so the update that would repair it never comes."""
    message = f"{meta.name(pod)} never became Ready, is of an older revision, and holds up the update that would replace it"
    remedy = f'Delete it: kubectl delete {_pod(pod)} {_in(pod)}; or annotate the set with holdfast.dev/unstick="true"'
    return Wait(_pod(pod), OUTDATED, message, _ready_changed(pod), remedy)


def not_available(pod: Obj, seconds: int) -> Wait:
    message = f"{meta.name(pod)} is Ready, but not yet for the {seconds} seconds that make it available"
    return Wait(_pod(pod), "NotAvailable", message, _ready_changed(pod), "Wait: time alone makes it available")


def claim_terminating(name: str, claim: Obj) -> Wait:
    message = f"{name} waits: claim {meta.name(claim)} is being deleted"
    remedy = f"See who still uses it: holdfast why pvc/{meta.name(claim)} {_in(claim)}"
    return Wait(f"pvc/{meta.name(claim)}", "ClaimTerminating", message, _dying_since(claim), remedy)


def claim_stale(name: str, claim: Obj) -> Wait:
    message = f"{name} waits: claim {meta.name(claim)} still belongs to the member that went"
    return Wait(f"pvc/{meta.name(claim)}", "ClaimStale", message, "", "Wait: the garbage collector deletes it, then it is made anew")


def scaling_down(pod: Obj) -> Wait:
    return Wait(_pod(pod), "ScalingDown", f"{meta.name(pod)} is being deleted: the set was scaled down")


def scale_down_blocked(pod: Obj, sick: Obj) -> Wait:
    message = f"scaling down waits with {meta.name(pod)}: {meta.name(sick)} is not healthy"
    return Wait(_pod(sick), "ScaleDownBlocked", message, _dying_since(sick) or _ready_changed(sick), _look(sick))


def replacing(pod: Obj, revision: str) -> Wait:
    return Wait(_pod(pod), "Replacing", f"{meta.name(pod)} is being replaced by revision {revision}")


def outdated_going(pod: Obj) -> Wait:
    message = f"{meta.name(pod)}, of an older revision, is going; under Recreate no member is created before all of those are gone"
    return Wait(_pod(pod), "Recreate", message, _dying_since(pod), _look(pod))


def update_blocked(pod: Obj) -> Wait:
    message = f"the update waits: {meta.name(pod)} is not healthy"
    return Wait(_pod(pod), "UpdateBlocked", message, _dying_since(pod) or _ready_changed(pod), _look(pod))


def over_budget(owner: Obj, unhealthy: int, most: int) -> Wait:
    message = f"the update waits: {unhealthy} members are not healthy, {most} may be (maxUnavailable)"
    return Wait(
        f"sts/{meta.name(owner)}", "MaxUnavailable", message, "", "Wait, or raise spec.updateStrategy.rollingUpdate.maxUnavailable"
    )


def on_delete(pod: Obj) -> Wait:
    message = f"{meta.name(pod)} is of an older revision, and the update strategy OnDelete leaves it to you to delete it"
    return Wait(_pod(pod), "OnDelete", message, "", f"Delete it when it suits you: kubectl delete {_pod(pod)} {_in(pod)}")
