"""create: through the pipeline, then into the store; a generated name is tried again when it is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.machinery import errors
from holdfast.registry import codec
from holdfast.registry.pipeline import Write, walk
from holdfast.registry.request import Request, Result, Stored
from holdfast.store.api import KeyExistsError

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

GENERATED_TRIES = 8


async def execute(registry: Registry, request: Request) -> Result:
    kind = request.kind
    if not isinstance(request.body, dict):
        raise errors.bad_request("the request body is not an object")
    metadata = request.body.get("metadata") or {}
    generated = isinstance(metadata, dict) and not metadata.get("name") and bool(metadata.get("generateName"))
    for _ in range(GENERATED_TRIES if generated else 1):
        write = Write(registry, request, request.body)
        await walk(write)
        name = write.new["metadata"]["name"]
        key = codec.key(kind, request.namespace, name)
        value = codec.encode(kind, write.new)
        warnings = tuple(write.warnings)
        if dry_run(request):
            if registry.cache.get(key) is not None:
                raise errors.already_exists(kind.resource.plural, name, kind.resource.group)
            return Result(201, codec.serve(kind, Stored(value, 0)), warnings=warnings)
        try:
            revision = await registry.store.create(key, value)
        except KeyExistsError:
            continue
        return Result(201, await registry.committed(kind, request.namespace, name, revision, value), warnings=warnings)
    error = errors.already_exists(kind.resource.plural, name, kind.resource.group)
    if generated:
        error.message += ", the server was not able to generate a unique name for the object"
        error.details = {**(error.details or {}), "retryAfterSeconds": 1}
    raise error


def dry_run(request: Request) -> bool:
    value = request.options.get("dryRun", "")
    if value and value != "All":
        raise errors.bad_request(f'Invalid value: "{value}": dryRun: Unsupported value: "{value}": supported values: "All"')
    return bool(value)
