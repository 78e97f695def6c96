"""create: walk the pipeline, commit; a generated name that is taken is tried again."""

from __future__ import annotations

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, meta
from holdfast.machinery.errors import ApiError
from holdfast.registry import codec, options
from holdfast.registry.core import Core
from holdfast.registry.pipeline import walk
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.common import catch_up
from holdfast.registry.write import Write
from holdfast.store.api import KeyExistsError

TRIES = 8


async def create(core: Core, request: Request, managed: list[Obj] | None = None) -> Result:
    options.check_write(request)
    metadata = request.body.get("metadata") if isinstance(request.body, dict) else None
    generated = isinstance(metadata, dict) and not metadata.get("name") and bool(metadata.get("generateName"))
    for _ in range(TRIES if generated else 1):
        write = Write(core, request, request.body, managed=managed)
        try:
            await walk(write)
            warnings = write.warnings if request.kind.acted_on else [*write.warnings, _idle(request)]
            return Result(
                201,
                stored=await core.committer.create(write.kind, write.new, dry_run=options.dry_run(request)),
                warnings=tuple(warnings),
            )
        except KeyExistsError:
            await catch_up(core)
            refused = _exists(core, write, generated=generated)
        finally:
            write.release()
    raise refused


def _exists(core: Core, write: Write, *, generated: bool) -> ApiError:
    resource, name = write.kind.resource, meta.name(write.new)
    error = errors.already_exists(resource.plural, name, resource.group)
    if generated:
        error.message += ", the server was not able to generate a unique name for the object"
        error.details = {**(error.details or {}), "retryAfterSeconds": 1}
        return error
    there = core.cache.get(codec.key(write.kind, meta.namespace(write.new), name))
    if there is not None and meta.is_terminating(there.obj):
        error.message = f"object is being deleted: {error.message}"
    return error


def _idle(request: Request) -> str:
    return f"no controller acts on objects of kind {request.kind.resource.kind} yet"
