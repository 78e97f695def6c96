"""What a pod's status says to those who keep pods: whether it has ended, is ready, has been ready for long enough. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta


def phase(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def has_ended(pod: Obj) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    """It neither has ended nor is it asked to go."""
    return not has_ended(pod) and not meta.is_terminating(pod)


def is_ready(pod: Obj) -> bool:
    return meta.condition_true(pod, "Ready")


def ready_since(pod: Obj) -> float:
    """When its Ready condition became what it is, in seconds of the epoch; 0 when that is not told."""
    stamp = (meta.condition(pod, "Ready") or {}).get("lastTransitionTime")
    return parse_rfc3339(stamp) if stamp else 0.0


def ready_for(pod: Obj, now: float) -> float:
    """Seconds since the pod became Ready; 0 when that is not told."""
    since = ready_since(pod)
    return now - since if since else 0.0


def available_in(pod: Obj, wanted: int, now: float) -> float:
    """Seconds until a ready pod has been ready for so many seconds; 0 when it has; infinite when it is not ready."""
    if not is_ready(pod):
        return float("inf")
    return max(wanted - ready_for(pod, now), 0.0) if wanted else 0.0


def next_available(pods: Iterable[Obj], wanted: int, now: float) -> float:
    """When the next of these pods will be available; 0 = none is about to. No event tells of it, but counts depend on it."""
    left = [available_in(pod, wanted, now) for pod in pods]
    return min((seconds + 0.1 for seconds in left if 0 < seconds < float("inf")), default=0.0)
