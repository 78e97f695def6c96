"""eviction: a graceful deletion that others ask for, as far as a PodDisruptionBudget allows it.

What the request itself rules out (another uid, another resourceVersion) is refused first. Then one disruption is taken
from the budget by compare-and-swap, noting the pod, so that two evictions never spend the same one; then the pod is
marked and deleted. An eviction that fails after it has paid gets nothing back: the budget's controller does, once it sees
that the pod stayed.
"""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.kinds.policy import allowed
from holdfast.kinds.resources import PODDISRUPTIONBUDGETS
from holdfast.machinery import errors, meta, selectors
from holdfast.machinery.errors import ApiError
from holdfast.registry import codec
from holdfast.registry.admission.node import check_eviction
from holdfast.registry.core import Core
from holdfast.registry.managers import UPDATE, Manager, updated
from holdfast.registry.options import DeleteOptions, delete_options
from holdfast.registry.pipeline import check_type
from holdfast.registry.request import Request, Result, Stored
from holdfast.registry.subresources.pod import SUCCESS, change, set_condition
from holdfast.registry.verbs.common import RETRIES, catch_up, current
from holdfast.registry.verbs.delete import check_preconditions, delete
from holdfast.store.api import MismatchError

_MANAGER = Manager("kube-apiserver", UPDATE, PODDISRUPTIONBUDGETS.api_version, "status")
_OLD = "policy/v1beta1"
"""What kubectl before 1.22 sends; upstream still takes it."""
_UNGUARDED_PHASES = ("Succeeded", "Failed", "Pending")
_OVER = ("Succeeded", "Failed")
_UNCONFIRMED_LIMIT = 2000
_STILL_PROCESSED_SECONDS = 10


async def evict(core: Core, request: Request) -> Result:
    body = request.body
    check_type(body, _OLD if isinstance(body, dict) and body.get("apiVersion") == _OLD else "policy/v1", "Eviction")
    name = (body.get("metadata") or {}).get("name")
    if name and name != request.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    found = current(core, request)
    deleting = _deletion(request)
    wanted = delete_options(deleting)
    check_eviction(request, found.obj)
    check_preconditions(request.kind, found, wanted)
    unhealthy = await _spend(core, found.obj, wanted)
    if wanted.dry_run or meta.is_terminating(found.obj) or _phase(found.obj) in _OVER:
        await delete(core, deleting)
        return Result(201, obj=dict(SUCCESS))

    def mark(pod: Obj) -> None:
        present = current(core, request)
        if unhealthy and present.revision != found.revision:
            raise _refused(_processed(unhealthy), _STILL_PROCESSED_SECONDS)  # it may have become healthy: the budget is asked again
        check_preconditions(request.kind, present, wanted)
        word = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
        set_condition(pod, {"type": "DisruptionTarget", "status": "True", **word}, core.timestamp())

    await change(core, request, mark)
    # The mark moved the pod on: from here its uid says that it is still the one.
    kept = {n: v for n, v in deleting.body.items() if n != "preconditions"} | {"preconditions": {"uid": meta.uid(found.obj)}}
    await delete(core, changed(deleting, body=kept))
    return Result(201, obj=dict(SUCCESS))


def _deletion(request: Request) -> Request:
    """The delete that an eviction asks for; a dry run asked for anywhere is one."""
    body: Any = dict(request.body.get("deleteOptions") or {})
    if request.options.get("dryRun"):
        body["dryRun"] = [request.options["dryRun"]]
    return changed(request, verb="delete", subresource="", body=body, options={})


def _phase(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


async def _spend(core: Core, pod: Obj, wanted: DeleteOptions) -> str:
    """Takes one disruption from the pod's budget, if it has one that guards it. Raises ApiError 429.

    Returns the name of the budget that lets an unhealthy pod go for nothing, which holds for the state that was looked at.
    """
    if meta.is_terminating(pod) or _phase(pod) in _UNGUARDED_PHASES:
        return ""
    kind = core.kinds.of(PODDISRUPTIONBUDGETS)
    budgets = [item.obj for item in core.cache.list(codec.prefix(kind, meta.namespace(pod))) if _guards(item.obj, pod)]
    if not budgets:
        return ""
    if len(budgets) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(500, "", text)
    name = meta.name(budgets[0])
    if not meta.condition_true(pod, "Ready") and _lets_unhealthy_go(budgets[0]):
        return name
    key = codec.key(kind, meta.namespace(pod), name)
    for _ in range(RETRIES):
        found = core.cache.get(key)
        if found is None:  # a budget that is gone guards nothing
            return ""
        old = codec.serve(kind, found).obj
        new = spent(old, meta.name(pod), core.timestamp())
        if wanted.dry_run:
            return ""
        new["metadata"]["managedFields"] = _managed(core, found, new)
        try:
            await core.committer.update(kind, new, found, dry_run=False)
            return ""
        except MismatchError:
            await catch_up(core)
    raise errors.timeout(f'Timeout: couldn\'t update PodDisruptionBudget "{name}" due to conflicts', _STILL_PROCESSED_SECONDS)


def _managed(core: Core, found: Stored, new: Obj) -> list[Obj]:
    kind = core.kinds.of(PODDISRUPTIONBUDGETS)
    old = codec.serve(kind, found).obj
    return updated(kind, old["metadata"].get("managedFields") or [], old, new, _MANAGER, core.timestamp())


def _guards(budget: Obj, pod: Obj) -> bool:
    return selectors.from_object((budget.get("spec") or {}).get("selector")).matches(meta.labels_of(pod))


def _lets_unhealthy_go(budget: Obj) -> bool:
    """A pod that is not ready counts for nothing: by policy it may always go, or while the budget is met without it."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy") or 0
    return 0 < desired <= (status.get("currentHealthy") or 0)


def spent(budget: Obj, pod: str, now: str) -> Obj:
    """The budget with one disruption less. Pure. Raises ApiError 429, and 403 for a status that cannot be."""
    new = codec.copy(budget)
    name, status, generation = meta.name(budget), new["status"], budget["metadata"].get("generation") or 0
    if (status.get("observedGeneration") or 0) < generation:
        raise _refused(_processed(name), _STILL_PROCESSED_SECONDS)
    left = status.get("disruptionsAllowed") or 0
    if left < 0:
        raise errors.forbidden("poddisruptionbudget", name, "pdb disruptions allowed is negative", "policy")
    if len(status.get("disruptedPods") or {}) > _UNCONFIRMED_LIMIT:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden("poddisruptionbudget", name, why, "policy")
    if left == 0:
        raise _refused(_unmet(budget))
    status["disruptionsAllowed"] = left - 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: now}
    if left == 1:
        new["status"] = allowed.with_condition(status, generation, now)
    return new


def _unmet(budget: Obj) -> str:
    name, status = meta.name(budget), budget["status"]
    condition = meta.condition(budget, allowed.TYPE) or {}
    if condition.get("reason") == allowed.SYNC_FAILED:
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {condition.get('message')}"
    needs, has = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
    return f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"


def _processed(name: str) -> str:
    return f"The disruption budget {name} is still being processed by the server."


def _refused(cause: str, retry_after: int = 0) -> ApiError:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    text = "Cannot evict pod as it would violate the pod's disruption budget."
    return ApiError(429, "TooManyRequests", text, details)
