"""update: replace an object, or its status, under the resourceVersion that the caller saw.

``replace`` is shared with patch: one attempt on the present state; a conflict with another writer is
tried again by the caller when the request named no resourceVersion.
"""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.registry import codec, options
from holdfast.registry.core import Core
from holdfast.registry.managers import same_but_for_times
from holdfast.registry.pipeline import STEPS, walk
from holdfast.registry.request import Request, Result, Stored
from holdfast.registry.verbs.common import RETRIES, absent, catch_up, modified, stored, unconditional
from holdfast.registry.verbs.create import create
from holdfast.registry.write import Write
from holdfast.store.api import MismatchError


async def update(core: Core, request: Request) -> Result:
    options.check_write(request)
    kind = request.kind
    version = _given(request.body)
    for _ in range(RETRIES):
        found = stored(core, request)
        if found is None:
            if kind.create_on_update and not request.subresource and not version:
                creating = changed(request, verb="create")
                core.authorize(creating)
                _check_name(request)
                try:
                    return await create(core, creating)
                except ApiError as error:
                    if error.reason != "AlreadyExists":
                        raise
                    continue  # somebody was faster: now it is an update
            raise absent(kind, request.name)
        if not version and not kind.unconditional_update:
            raise unconditional(kind, request.name)
        if version and version != found.revision:
            await _decoded(core, request, found)
            raise modified(kind, request.name)
        try:
            return await replace(core, request, request.body, found)
        except MismatchError:
            await catch_up(core)
            continue
    raise modified(kind, request.name)


async def _decoded(core: Core, request: Request, found: Stored) -> None:
    """A body that is no such object is refused as that, before its resourceVersion is looked at."""
    write = Write(core, request, request.body, codec.serve(request.kind, found).obj)
    for step in STEPS[:2]:
        await step(write)


def _check_name(request: Request) -> None:
    metadata = (request.body.get("metadata") or {}) if isinstance(request.body, dict) else {}
    if isinstance(metadata, dict) and not metadata.get("name"):  # another type is refused as such by the decoder
        raise errors.bad_request(f"the name of the object ({request.name} based on URL) was undeterminable: name must be provided")


def _given(body: Any) -> int:
    metadata = body.get("metadata") if isinstance(body, dict) else None
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return options.revision(str(version)) if version else 0


async def replace(core: Core, request: Request, body: Obj, found: Stored, managed: list[Obj] | None = None) -> Result:
    """One attempt to put ``body`` in the place of ``found``. Raises MismatchError when another writer was faster."""
    old = codec.serve(request.kind, found).obj
    write = Write(core, request, body, old, managed)
    dry = options.dry_run(request)
    try:
        await walk(write)
        warnings = tuple(write.warnings)
        if finished(request.kind, write.new):
            # Watchers are shown the object as it was; who took the last finalizer away sees it without.
            await core.committer.delete(request.kind, old, found, dry_run=dry)
            return Result(stored=codec.revised(request.kind, write.new, found.revision), warnings=warnings)
        if _same(write.new, old):
            return Result(stored=codec.serve(request.kind, found), warnings=warnings)
        return Result(stored=await core.committer.update(write.kind, write.new, found, dry_run=dry), warnings=warnings)
    finally:
        write.release()


def finished(kind: Kind, obj: Obj) -> bool:
    """Whether a deletion that waits has nothing left to wait for."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if (kind.resource.group, kind.resource.plural) == ("", "namespaces"):
        return not (obj.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def _same(new: Obj, old: Obj) -> bool:
    def bare(obj: Obj) -> Obj:
        return obj | {"metadata": {n: v for n, v in obj["metadata"].items() if n not in ("resourceVersion", "managedFields")}}

    return bare(new) == bare(old) and same_but_for_times(*(obj["metadata"].get("managedFields") or [] for obj in (new, old)))
