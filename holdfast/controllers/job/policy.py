"""What one failed pod means (podFailurePolicy), and which successes are enough (successPolicy). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.controllers.job.indexes import Indexes
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta


@dataclass(frozen=True)
class Meaning:
    """``action`` "" = no rule is about it: it counts. ``message``: why the job fails, with FailJob."""

    action: str = ""
    message: str = ""

    @property
    def counts(self) -> bool:
        return self.action != "Ignore"


def of_failure(job: Obj, pod: Obj) -> Meaning:
    """The first rule that matches decides."""
    policy = job["spec"].get("podFailurePolicy")
    for number, rule in enumerate((policy or {}).get("rules") or []):
        what = _matched(rule, pod)
        if what:
            end = f" matching {rule['action']} rule at index {number}"
            return Meaning(rule["action"], what + end if rule["action"] == "FailJob" else "")
    return Meaning()


def _matched(rule: Obj, pod: Obj) -> str:
    """What of the pod the rule is about; "" when nothing is."""
    status = pod.get("status") or {}
    if rule.get("onExitCodes") is not None:
        wanted = rule["onExitCodes"]
        for container in [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]:
            ended = (container.get("state") or {}).get("terminated")
            if ended is None or not ended.get("exitCode") or wanted.get("containerName") not in (None, container["name"]):
                continue
            if (ended["exitCode"] in wanted["values"]) == (wanted["operator"] == "In"):
                return f"Container {container['name']} for pod {meta.key(pod)} failed with exit code {ended['exitCode']}"
        return ""
    patterns = {(pattern["type"], pattern.get("status", "True")) for pattern in rule.get("onPodConditions") or []}
    for condition in status.get("conditions") or []:
        if (condition["type"], condition["status"]) in patterns:
            return f"Pod {meta.key(pod)} has condition {condition['type']}"
    return ""


def success(job: Obj, succeeded: Indexes) -> str:
    """Which rule the succeeded indexes fulfil, in upstream's words; "" when none."""
    rules = (job["spec"].get("successPolicy") or {}).get("rules") or []
    for number, rule in enumerate(rules if len(succeeded) else ()):
        wanted, count = rule.get("succeededIndexes"), rule.get("succeededCount")
        if wanted is None:
            met = count is not None and len(succeeded) >= count
        else:
            required = Indexes.parse(wanted, int(job["spec"]["completions"]))
            common = required.common(succeeded)
            met = len(required) > 0 and (common == len(required) or (count is not None and common >= count))
        if met:
            return f"Matched rules at index {number}"
    return ""
