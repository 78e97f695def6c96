"""binding (the scheduler's word: this pod runs on that node, once) and eviction (a graceful deletion asked for by others)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, fielderror, meta
from holdfast.machinery.fielderror import FieldError
from holdfast.registry import codec, options
from holdfast.registry.admission.node import check_eviction
from holdfast.registry.core import Core
from holdfast.registry.options import delete_options
from holdfast.registry.pipeline import check_type
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.common import RETRIES, catch_up, current, modified
from holdfast.registry.verbs.delete import check_preconditions, delete
from holdfast.store.api import MismatchError

_SUCCESS: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def bind(core: Core, request: Request) -> Result:
    options.check_write(request)
    body = request.body
    check_type(body, "v1", "Binding")
    target, metadata = body.get("target") or {}, body.get("metadata") or {}
    if not isinstance(target, dict) or not isinstance(metadata, dict):
        raise errors.bad_request("target and metadata must be objects")
    found: list[FieldError] = []
    if target.get("kind") not in (None, "", "Node"):
        found.append(fielderror.not_supported("target.kind", target["kind"], ("<empty>", "Node")))
    if not target.get("name"):
        found.append(fielderror.required("target.name"))
    if found:
        raise errors.invalid("Binding", request.name, found)

    def assign(pod: Obj) -> None:
        if metadata.get("uid") and metadata["uid"] != meta.uid(pod):
            text = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {meta.uid(pod)}"
            raise modified(request.kind, request.name, text)
        if meta.is_terminating(pod):
            raise _bound(request.name, f"pod {request.name} is being deleted, cannot be assigned to a host")
        if pod["spec"].get("nodeName"):
            raise _bound(request.name, f'pod {request.name} is already assigned to node "{pod["spec"]["nodeName"]}"')
        if pod["spec"].get("schedulingGates"):
            raise _bound(request.name, f"pod {request.name} has non-empty .spec.schedulingGates")
        pod["spec"]["nodeName"] = target["name"]
        for name in ("labels", "annotations"):
            if metadata.get(name):
                pod["metadata"][name] = {**(pod["metadata"].get(name) or {}), **metadata[name]}
        _condition(pod, {"type": "PodScheduled", "status": "True"}, core.timestamp())

    await _change(core, request, assign)
    return Result(201, obj=dict(_SUCCESS))


def _bound(name: str, why: str) -> errors.ApiError:
    return errors.conflict("pods/binding", name, why)


async def evict(core: Core, request: Request) -> Result:
    body = request.body
    check_type(body, "policy/v1", "Eviction")
    name = (body.get("metadata") or {}).get("name")
    if name and name != request.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    found = current(core, request)
    delete_body: Any = dict(body.get("deleteOptions") or {})
    if request.options.get("dryRun"):
        delete_body["dryRun"] = [request.options["dryRun"]]
    deleting = changed(request, verb="delete", subresource="", body=delete_body, options={})
    wanted = delete_options(deleting)
    check_eviction(request, found.obj)
    check_preconditions(request.kind, found, wanted)

    def mark(pod: Obj) -> None:
        check_preconditions(request.kind, current(core, request), wanted)
        word = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
        _condition(pod, {"type": "DisruptionTarget", "status": "True", **word}, core.timestamp())

    phase = (found.obj.get("status") or {}).get("phase")
    if not wanted.dry_run and not meta.is_terminating(found.obj) and phase not in ("Succeeded", "Failed"):
        uid = meta.uid(found.obj)
        await _change(core, request, mark)
        # The mark moved the pod on: from here its uid says that it is still the one.
        body = {n: v for n, v in delete_body.items() if n != "preconditions"} | {"preconditions": {"uid": uid}}
        deleting = changed(deleting, body=body)
    await delete(core, deleting)
    return Result(201, obj=dict(_SUCCESS))


def _condition(pod: Obj, entry: Obj, now: str) -> None:
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    entry = {"lastProbeTime": None, "lastTransitionTime": now, **entry}
    for position, present in enumerate(conditions):
        if present.get("type") == entry["type"]:
            conditions[position] = entry
            return
    conditions.append(entry)


async def _change(core: Core, request: Request, act: Callable[[Obj], None]) -> None:
    for _ in range(RETRIES):
        found = current(core, request)
        old = codec.serve(request.kind, found).obj
        new = codec.copy(old)
        act(new)
        try:
            await core.committer.update(request.kind, new, found, dry_run=options.dry_run(request))
        except MismatchError:
            await catch_up(core)
            continue
        return
    raise modified(request.kind, request.name)
