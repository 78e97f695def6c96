"""apply: server-side apply. The caller says what it wants set; the server merges, and keeps the books of who set what.

``registry.managers`` decides; what comes out walks the pipeline like an update, or like a create where nothing was.
A conflict with another writer is tried again, a conflict with another manager is the answer.
"""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors
from holdfast.machinery.typed import UntypedError, untyped
from holdfast.registry import codec, options
from holdfast.registry.core import Core
from holdfast.registry.managers import APPLY, applied, manager_of, with_last_applied
from holdfast.registry.pipeline import check_address
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.common import RETRIES, catch_up, modified, stored
from holdfast.registry.verbs.create import create
from holdfast.registry.verbs.update import replace
from holdfast.store.api import MismatchError


async def apply(core: Core, request: Request) -> Result:
    options.check_write(request)
    if request.doubled and request.options.get("fieldValidation") == "Strict":
        raise errors.bad_request(f"error strict decoding YAML: error converting YAML to JSON: {', '.join(request.doubled)}")
    config = _configuration(request)
    force = options.flag(request.options, "force")
    who = manager_of(request, APPLY)
    for _ in range(RETRIES):
        found = stored(core, request)
        live = codec.serve(request.kind, found).obj if found is not None else None
        _check_precondition(request, config, live)
        try:
            merged, entries = applied(request.kind, live, config, who, core.timestamp(), force=force)
        except UntypedError as error:
            resource = request.kind.resource
            given = request.body.get("metadata") or {}
            name = f"{given.get('namespace') or ''}/{given.get('name') or ''}" if isinstance(given, dict) else "/"
            raise untyped(error, name, resource.api_version, resource.kind) from None
        merged = merged | {"metadata": dict(merged["metadata"])}
        if found is None:
            if request.subresource:
                raise errors.not_found(request.kind.resource.plural, request.name, request.kind.resource.group)
            return await _create(core, request, merged, entries)
        with_last_applied(merged, config, who)
        try:
            return await replace(core, request, merged, found, entries)
        except MismatchError:
            await catch_up(core)
    raise modified(request.kind, request.name)


def _configuration(request: Request) -> Obj:
    """The body, once it is an object of this kind and name. Raises ApiError 400."""
    body: Any = request.body
    resource = request.kind.resource
    if not isinstance(body, dict):
        raise errors.bad_request(f"error decoding YAML: the body is no object but {type(body).__name__}")
    given = (body.get("apiVersion") or "", body.get("kind") or "")
    if given != (resource.api_version, resource.kind):
        group, _, version = str(given[0]).rpartition("/")
        raise errors.bad_request(f"invalid object type: {group}/{version}, Kind={given[1]}")
    metadata = body.get("metadata")
    if metadata is None:
        metadata = {}
    if isinstance(metadata, dict):
        if metadata.get("managedFields") is not None:
            raise errors.bad_request("metadata.managedFields must be nil")
        body = body | {"metadata": dict(metadata)}
        if isinstance(metadata.get("name", ""), str):
            check_address(request, body)
    return dict(body)


def _check_precondition(request: Request, config: Obj, live: Obj | None) -> None:
    metadata = config["metadata"] if isinstance(config["metadata"], dict) else {}
    if live is None:
        if metadata.get("uid"):
            text = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
            raise modified(request.kind, request.name, text)
        return
    version = metadata.get("resourceVersion")
    if version and str(version) != live["metadata"]["resourceVersion"]:
        raise modified(request.kind, request.name)


async def _create(core: Core, request: Request, merged: Obj, entries: list[Obj]) -> Result:
    creating = changed(request, verb="create", body=merged)
    core.authorize(creating)
    merged["metadata"].pop("resourceVersion", None)
    return await create(core, creating, entries)
