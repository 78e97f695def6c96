"""scale: the wanted number of replicas of any kind that says where it keeps it, as an autoscaling/v1 Scale."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

from holdfast.kinds.kind import Kind, Obj
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import errors, fielderror, meta
from holdfast.machinery.decode import decode
from holdfast.registry import codec, options
from holdfast.registry.core import Core
from holdfast.registry.pipeline import check_type
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.common import RETRIES, catch_up, current, modified
from holdfast.registry.verbs.patch import patched
from holdfast.registry.verbs.update import replace
from holdfast.store.api import MismatchError

API_VERSION, KIND = "autoscaling/v1", "Scale"
_SCHEMA = schema_of("io.k8s.api.autoscaling.v1.Scale")


async def get(core: Core, request: Request) -> Result:
    return Result(obj=_scale(request.kind, codec.serve(request.kind, current(core, request)).obj))


async def write(core: Core, request: Request) -> Result:
    """update and patch."""
    options.check_write(request)
    for _ in range(RETRIES):
        found = current(core, request)
        obj = codec.serve(request.kind, found).obj
        body = request.body if request.verb == "update" else patched(request, _SCHEMA, _scale(request.kind, obj))
        replicas, version = _wanted(request, body)
        if version and version != found.revision:
            raise modified(request.kind, request.name)
        new = codec.copy(obj)
        *way, last = request.kind.subresources["scale"].replicas_path
        place: Obj = new
        for step in way:
            place = place.setdefault(step, {})
        place[last] = replicas
        try:
            result = await replace(
                core, changed(request, verb="update", subresource="", via="scale", options=_kept(request)), new, found
            )
        except MismatchError:
            await catch_up(core)
            if request.verb == "update" and version:
                break
            continue
        assert result.stored is not None
        return Result(obj=_scale(request.kind, result.stored.obj), warnings=result.warnings)
    raise modified(request.kind, request.name)


def _kept(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.options.items() if name in ("dryRun", "fieldManager")}


def _scale(kind: Kind, obj: Obj) -> Obj:
    metadata = obj["metadata"]
    replicas: Any = obj
    for step in kind.subresources["scale"].replicas_path:
        replicas = (replicas or {}).get(step)
    status: Obj = {"replicas": (obj.get("status") or {}).get("replicas") or 0}
    selector = (obj.get("spec") or {}).get("selector")
    if selector:
        status["selector"] = str(kind.subresources["scale"].selects(selector))
    return {
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": {
            name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if name in metadata
        },
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _wanted(request: Request, body: Any) -> tuple[int, int]:
    """(replicas, resourceVersion) that a Scale asks for."""
    check_type(body, API_VERSION, KIND)
    scale, _ = decode(_SCHEMA, body)
    name = meta.name(scale) if scale.get("metadata") else ""
    if name and name != request.name:
        raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({request.name})")
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        fault = fielderror.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid(KIND, request.name, [fault], "autoscaling")
    version = (scale.get("metadata") or {}).get("resourceVersion")
    return replicas, options.revision(version) if version else 0
