"""Subresources that are not the object itself: scale, binding, eviction, finalize, token.

``status`` goes through the ordinary verbs; exec, attach, portforward and log are streams (``server.streams``)
and only ask ``authorize`` here.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, selectors
from holdfast.machinery.fielderror import invalid
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs import delete
from holdfast.registry.verbs.patch import ACCEPTED, patched
from holdfast.registry.verbs.update import change_object

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry


async def execute(registry: Registry, request: Request) -> Result:
    declared = request.kind.subresources.get(request.subresource)
    if declared is None:
        raise errors.ApiError(404, "NotFound", "the server could not find the requested resource", {})
    if request.verb not in declared.verbs:
        raise errors.method_not_allowed(request.verb, request.kind.resource.plural, request.kind.resource.group)
    acts = {"scale": _scale, "binding": _binding, "eviction": _eviction, "finalize": _finalize, "token": _token}
    return await acts[request.subresource](registry, request)


def scale_of(obj: Obj, path: tuple[str, ...]) -> Obj:
    """autoscaling/v1 Scale of an object."""
    replicas: Any = obj
    for part in path:
        replicas = replicas.get(part) if isinstance(replicas, dict) else None
    metadata = {
        k: obj["metadata"][k] for k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if k in obj["metadata"]
    }
    status: Obj = {"replicas": (obj.get("status") or {}).get("replicas") or 0}
    text = str(selectors.from_object((obj.get("spec") or {}).get("selector") or {}))
    if text:
        status["selector"] = text
    spec = {"replicas": replicas} if replicas else {}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


async def _scale(registry: Registry, request: Request) -> Result:
    kind = request.kind
    path = kind.subresources["scale"].replicas_path
    if request.verb == "get":
        return Result(200, obj=scale_of(registry.live(kind, request.namespace, request.name).obj, path))
    if request.verb == "patch" and request.content_type not in ACCEPTED:
        raise errors.unsupported_media_type(ACCEPTED)

    async def change(old: Obj) -> Obj:
        current = scale_of(old, path)
        wanted = patched(request, current) if request.verb == "patch" else request.body
        if not isinstance(wanted, dict):
            raise errors.bad_request("the request body is not a Scale")
        replicas = (wanted.get("spec") or {}).get("replicas") or 0
        if not isinstance(replicas, int) or replicas < 0:
            fault = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid("Scale", request.name, [fault], "autoscaling")
        new = copy.deepcopy(old)
        target = new
        for part in path[:-1]:
            target = target.setdefault(part, {})
        target[path[-1]] = replicas
        revision = (wanted.get("metadata") or {}).get("resourceVersion")
        if revision:
            new["metadata"]["resourceVersion"] = revision
        return new

    main = replace(request, subresource="", verb="update")
    result = await change_object(registry, main, change)
    assert result.stored is not None
    return Result(200, obj=scale_of(result.stored.obj, path))


async def _binding(registry: Registry, request: Request) -> Result:
    """The scheduler's decision: the pod gets its node, once."""
    target = (request.body or {}).get("target") or {}
    if target.get("kind") not in ("Node", None, "") or not target.get("name"):
        fault = invalid("target.name", target.get("name"), "the name of a Node is required")
        raise errors.invalid("Binding", request.name, [fault])

    async def change(old: Obj) -> Obj:
        if old["metadata"].get("deletionTimestamp"):
            raise errors.conflict("pods/binding", request.name, f"pod {request.name} is being deleted, cannot be assigned to a host")
        if old["spec"].get("nodeName"):
            text = f'pod {request.name} is already assigned to node "{old["spec"]["nodeName"]}"'
            raise errors.conflict("pods/binding", request.name, text)
        uid = ((request.body or {}).get("metadata") or {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            text = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise errors.conflict("pods/binding", request.name, text)
        new = copy.deepcopy(old)
        new["spec"]["nodeName"] = target["name"]
        status = new.setdefault("status", {})
        conditions = [c for c in status.get("conditions") or [] if c["type"] != "PodScheduled"]
        conditions.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": registry.timestamp()})
        status["conditions"] = conditions
        return new

    await _write_as_is(registry, request, change)
    return Result(201, obj={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})


async def _write_as_is(registry: Registry, request: Request, change: Any) -> None:
    """Commits a change that only the server makes (no pipeline: it touches fields no client may)."""
    from holdfast.registry import codec
    from holdfast.store.api import MismatchError

    for _ in range(16):
        old = registry.live(request.kind, request.namespace, request.name)
        new = await change(old.obj)
        key = codec.key(request.kind, request.namespace, request.name)
        try:
            revision = await registry.store.update(key, codec.encode(request.kind, new), old.revision)
        except MismatchError as error:
            await registry.cache.wait(error.current.revision if error.current else registry.store.revision)
            continue
        await registry.cache.wait(revision)
        return
    raise errors.conflict(request.kind.resource.plural, request.name, group=request.kind.resource.group)


async def _eviction(registry: Registry, request: Request) -> Result:
    options = (request.body or {}).get("deleteOptions") or {}
    await delete.execute(registry, replace(request, verb="delete", subresource="", body=options))
    return Result(201, obj={"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})


async def _finalize(registry: Registry, request: Request) -> Result:
    """Namespaces: replaces spec.finalizers; the last one to leave lets the namespace go."""
    from holdfast.registry import codec

    finalizers = ((request.body or {}).get("spec") or {}).get("finalizers") or []

    async def change(old: Obj) -> Obj:
        new = copy.deepcopy(old)
        new.setdefault("spec", {})["finalizers"] = finalizers
        if not finalizers:
            new["spec"] = {}
        return new

    await _write_as_is(registry, request, change)
    now = registry.live(request.kind, "", request.name)
    metadata = now.obj["metadata"]
    if metadata.get("deletionTimestamp") and not finalizers and not metadata.get("finalizers"):
        key = codec.key(request.kind, "", request.name)
        revision = await registry.store.delete(key, now.revision)
        await registry.cache.wait(revision)
    return Result(200, now)


async def _token(registry: Registry, request: Request) -> Result:
    if registry.issue_token is None:
        raise errors.internal("this server has no key to sign tokens with")
    account = registry.live(request.kind, request.namespace, request.name).obj
    return Result(201, obj=await registry.issue_token(account, request.body if isinstance(request.body, dict) else {}))
