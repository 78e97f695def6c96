"""update: a whole object over the stored one; also the one place where changed objects are committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors
from holdfast.registry import codec
from holdfast.registry.pipeline import Write, walk
from holdfast.registry.request import Request, Result, Stored
from holdfast.registry.verbs import create
from holdfast.registry.verbs.get import parse_revision
from holdfast.store.api import MismatchError

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

RETRIES = 16


async def execute(registry: Registry, request: Request) -> Result:
    kind = request.kind
    body = request.body
    if not isinstance(body, dict):
        raise errors.bad_request("the request body is not an object")
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    sent = str(metadata.get("resourceVersion") or "")
    if not sent and not kind.unconditional_update and registry.cache.get(codec.key(kind, request.namespace, request.name)):
        from holdfast.machinery.fielderror import invalid

        fault = invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise errors.invalid(kind.resource.kind, request.name, [fault], kind.resource.group)
    if kind.create_on_update and registry.cache.get(codec.key(kind, request.namespace, request.name)) is None:
        return await create.execute(registry, request)

    async def change(_old: Obj) -> Obj:
        return dict(body)

    return await change_object(registry, request, change, expected=parse_revision(sent))


async def change_object(registry: Registry, request: Request, change: Callable[[Obj], Awaitable[Obj]], *, expected: int = 0) -> Result:
    """Applies ``change`` to the stored object through the pipeline; tried again when another write came between,

    unless the caller expects a revision (its own, or one that its patch carries): then 409.
    """
    kind = request.kind
    resource = kind.resource
    key = codec.key(kind, request.namespace, request.name)
    for _ in range(RETRIES):
        old = registry.live(kind, request.namespace, request.name)
        new = await change(old.obj)
        carried = (new.get("metadata") or {}).get("resourceVersion") if isinstance(new, dict) else None
        wanted = expected or (parse_revision(str(carried)) if carried and str(carried) != str(old.revision) else 0)
        if wanted and wanted != old.revision:
            raise errors.conflict(resource.plural, request.name, group=resource.group)
        write = Write(registry, request, new, old.obj)
        await walk(write)
        value = codec.encode(kind, write.new)
        warnings = tuple(write.warnings)
        if codec.splice(value, old.revision) == registry.cache_bytes(key):
            return Result(200, old, warnings=warnings)
        if create.dry_run(request):
            return Result(200, codec.serve(kind, Stored(codec.splice(value, old.revision), old.revision)), warnings=warnings)
        try:
            if finished(write.new):
                revision = await registry.store.delete(key, old.revision, value)
            else:
                revision = await registry.store.update(key, value, old.revision)
        except MismatchError as error:
            await registry.cache.wait(error.current.revision if error.current else registry.store.revision)
            if expected:
                raise errors.conflict(resource.plural, request.name, group=resource.group) from None
            continue
        return Result(200, await registry.committed(kind, request.namespace, request.name, revision, value), warnings=warnings)
    raise errors.conflict(resource.plural, request.name, group=resource.group)


def finished(obj: Obj) -> bool:
    """A deleted object whose last finalizer left and whose grace is over: it goes with this write."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if (obj.get("spec") or {}).get("finalizers") and obj["kind"] == "Namespace":
        return False
    return not metadata.get("deletionGracePeriodSeconds")
