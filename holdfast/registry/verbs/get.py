"""get: one object, from the watch cache, which has seen every answered write."""

from __future__ import annotations

from holdfast.registry import codec, options
from holdfast.registry.core import Core
from holdfast.registry.request import Request, Result
from holdfast.registry.verbs.common import current, not_older_than


async def get(core: Core, request: Request) -> Result:
    await not_older_than(core, options.revision(request.options.get("resourceVersion", "")))
    return Result(stored=codec.serve(request.kind, current(core, request)))
