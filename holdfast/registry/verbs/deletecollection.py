"""deletecollection: every selected object by its own rules, one after the other; the answer lists them as they were."""

from __future__ import annotations

from dataclasses import replace

from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError
from holdfast.registry import options
from holdfast.registry.core import Core
from holdfast.registry.request import Listing, Request
from holdfast.registry.verbs.delete import delete
from holdfast.registry.verbs.list import list_

_LISTED = ("labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch")


async def deletecollection(core: Core, request: Request) -> Listing:
    wanted = options.delete_options(request)
    asked = {name: value for name, value in request.options.items() if name in _LISTED}
    found = await list_(core, replace(request, options=asked))
    for item in found.items:
        one = replace(request, name=meta.name(item.obj), namespace=meta.namespace(item.obj))
        try:
            await delete(core, one)
        except ApiError as error:
            if error.code != 404:
                raise
    if request.kind.delete_warning and not wanted.policy:
        return replace(found, warnings=(request.kind.delete_warning,))
    return found
