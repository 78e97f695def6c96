"""patch: JSON, merge and strategic merge patches, applied to the present state and committed like an update.

A patch that names no resourceVersion is applied anew when another writer was faster.
"""

from __future__ import annotations

import json
from typing import Any

from holdfast.client.api import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, fielderror
from holdfast.machinery.errors import ApiError
from holdfast.machinery.patch import json_patch, merge_patch
from holdfast.machinery.schema import Schema
from holdfast.machinery.strategic import strategic_merge
from holdfast.registry import codec, options
from holdfast.registry.core import Core
from holdfast.registry.pipeline import check_type
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.apply import apply
from holdfast.registry.verbs.common import RETRIES, catch_up, current, modified, unconditional
from holdfast.registry.verbs.update import replace
from holdfast.store.api import MismatchError

TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_CBOR = "application/apply-patch+cbor"
_SHOWN = 2048


async def patch(core: Core, request: Request) -> Result:
    if content_type(request) == APPLY_PATCH:
        return await apply(core, request)
    options.check_write(request)
    for _ in range(RETRIES):
        found = current(core, request)
        old = codec.serve(request.kind, found).obj
        body = patched(request, request.kind.schema, old)
        _check(request, body)
        version = body["metadata"].get("resourceVersion")
        if isinstance(version, str | None) and (given := options.revision(version or "")) != found.revision:
            if given:
                raise modified(request.kind, request.name)
            if not request.kind.unconditional_update:
                raise unconditional(request.kind, request.name)
        try:
            return await replace(core, request, body, found)
        except MismatchError:
            await catch_up(core)
    raise modified(request.kind, request.name)


def content_type(request: Request) -> str:
    """The patch's type without parameters. Raises ApiError 415."""
    kind = request.content_type.partition(";")[0].strip().lower()
    if kind in TYPES:
        return kind
    if kind == _CBOR:
        raise errors.unsupported_media_type(TYPES)
    raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


def patched(request: Request, schema: Schema, old: Obj) -> Any:
    """The object as the patch leaves it. Raises ApiError."""
    kind, body = content_type(request), request.body
    if kind == JSON_PATCH:
        return json_patch(old, body)
    if not isinstance(body, dict):
        given = "array" if isinstance(body, list) else type(body).__name__
        raise errors.bad_request(
            f"error decoding patch: json: cannot unmarshal {given} into Go value of type map[string]interface {{}}"
        )
    if kind == MERGE_PATCH:
        return merge_patch(old, body)
    return strategic_merge(schema, old, body)


def _check(request: Request, body: Any) -> None:
    """A patch may leave anything behind: it must still be this object. Faults are the patch's (422)."""
    resource = request.kind.resource
    try:
        check_type(body, resource.api_version, resource.kind)
        if not isinstance(body.get("metadata"), dict):
            raise errors.bad_request("metadata must be an object")
    except ApiError as error:
        shown = json.dumps(body, separators=(",", ":"))[:_SHOWN]
        raise errors.invalid("", "", [fielderror.invalid("patch", shown, error.message)]) from None
