"""binding: the scheduler's word, said once: this pod runs on that node."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.kinds.definitions.rules import unsupported
from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, fielderror, meta
from holdfast.machinery.fielderror import FieldError
from holdfast.registry import codec, options
from holdfast.registry.core import Core
from holdfast.registry.pipeline import check_type
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.common import RETRIES, catch_up, current, modified
from holdfast.store.api import MismatchError

SUCCESS: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def bind(core: Core, request: Request) -> Result:
    options.check_write(request)
    body = request.body
    check_type(body, "v1", "Binding")
    target, metadata = body.get("target") or {}, body.get("metadata") or {}
    if not isinstance(target, dict) or not isinstance(metadata, dict):
        raise errors.bad_request("target and metadata must be objects")
    found: list[FieldError] = []
    if target.get("kind") not in (None, "", "Node"):
        found.append(unsupported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        found.append(fielderror.required("target.name"))
    if found:
        raise errors.invalid("Binding", request.name, found)

    def assign(pod: Obj) -> None:
        if metadata.get("uid") and metadata["uid"] != meta.uid(pod):
            key = core.key(request.kind, request.namespace, request.name)
            text = f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            text += f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {meta.uid(pod)}"
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
        set_condition(pod, {"type": "PodScheduled", "status": "True"}, core.timestamp())

    await change(core, request, assign)
    return Result(201, obj=dict(SUCCESS))


def _bound(name: str, why: str) -> errors.ApiError:
    return errors.conflict("pods/binding", name, why)


def set_condition(pod: Obj, entry: Obj, now: str) -> None:
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    entry = {"lastProbeTime": None, "lastTransitionTime": now, **entry}
    for position, present in enumerate(conditions):
        if present.get("type") == entry["type"]:
            conditions[position] = entry
            return
    conditions.append(entry)


async def change(core: Core, request: Request, act: Callable[[Obj], None]) -> None:
    """``act`` changes a copy of the present state, again after each lost race."""
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
