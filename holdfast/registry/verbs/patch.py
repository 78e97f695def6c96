"""patch: JSON, merge and strategic-merge patches over the stored object; tried again on conflict."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors
from holdfast.machinery.patch import json_patch, merge_patch
from holdfast.machinery.strategic import strategic_merge
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.update import change_object

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)


async def execute(registry: Registry, request: Request) -> Result:
    if request.content_type not in ACCEPTED:
        raise errors.unsupported_media_type(ACCEPTED)

    async def change(old: Obj) -> Obj:
        return patched(request, old)

    return await change_object(registry, request, change)


def patched(request: Request, old: Obj) -> Obj:
    """The object a patch makes of ``old``. Raises ApiError."""
    if request.content_type == JSON_PATCH:
        new = json_patch(old, request.body)
    elif not isinstance(request.body, dict):
        raise errors.bad_request("the patch is not an object")
    elif request.content_type == MERGE_PATCH:
        new = merge_patch(old, request.body)
    else:
        new = strategic_merge(request.kind.schema, copy.deepcopy(old), request.body)
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise errors.bad_request("the patch leaves no object")
    return new
