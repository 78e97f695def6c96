"""The condition DisruptionAllowed of a budget: written by its controller and by an eviction that spends the last of it."""

from __future__ import annotations

from holdfast.kinds.kind import Obj

TYPE, SYNC_FAILED = "DisruptionAllowed", "SyncFailed"


def with_condition(status: Obj, generation: int, now: str, failure: str = "") -> Obj:
    """The status with the condition that its ``disruptionsAllowed`` asks for; ``failure`` says why nothing could be counted."""
    allowed = status["disruptionsAllowed"] > 0
    reason = SYNC_FAILED if failure else "SufficientPods" if allowed else "InsufficientPods"
    held = status.get("conditions") or []
    old: Obj = next((one for one in held if one["type"] == TYPE), {})
    word = "True" if allowed else "False"
    since = old.get("lastTransitionTime") if old.get("status") == word else now
    new = {
        "type": TYPE,
        "status": word,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
        "reason": reason,
        "message": failure,
    }
    kept = [new if one["type"] == TYPE else one for one in held]
    return {**status, "conditions": kept if old else [*kept, new]}
