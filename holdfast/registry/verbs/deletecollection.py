"""deletecollection: each selected object is deleted by its own rules; one that is gone meanwhile is no error."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from holdfast.machinery.errors import ApiError
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs import delete, list_

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry


async def execute(registry: Registry, request: Request) -> Result:
    listing = await list_.execute(registry, request)
    for item in listing.items:
        metadata = item.obj["metadata"]
        one = replace(request, verb="delete", name=metadata["name"], namespace=metadata.get("namespace", ""), options=_options(request))
        try:
            await delete.execute(registry, one)
        except ApiError as error:
            if error.code != 404:
                raise
    resource = request.kind.resource
    return Result(
        200,
        obj={
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(listing.revision)},
            "items": [orjson.loads(item.raw) for item in listing.items],
        },
    )


def _options(request: Request) -> dict[str, str]:
    return {k: v for k, v in request.options.items() if k in ("dryRun", "gracePeriodSeconds", "propagationPolicy")}
