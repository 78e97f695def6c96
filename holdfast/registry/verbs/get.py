"""get: one object, from the watch cache, which has seen every answered write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.registry import codec, options
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.common import current, not_older_than

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry


async def get(registry: Registry, request: Request) -> Result:
    await not_older_than(registry, options.revision(request.options.get("resourceVersion", "")))
    return Result(stored=codec.serve(request.kind, current(registry, request)))
