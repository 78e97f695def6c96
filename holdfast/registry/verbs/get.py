"""get: one object, linearizable: the cache has every write that was answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.registry.request import Request, Result

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

WAIT_SECONDS = 3.0


async def execute(registry: Registry, request: Request) -> Result:
    await not_older_than(registry, request.options.get("resourceVersion", ""))
    return Result(200, registry.live(request.kind, request.namespace, request.name))


def parse_revision(text: str) -> int:
    """A resourceVersion as sent by a client. Raises ApiError 400."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise errors.bad_request(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


async def not_older_than(registry: Registry, text: str) -> None:
    """Waits a little for a revision that this server has not seen yet (API-4)."""
    revision = parse_revision(text)
    if revision > registry.cache.revision:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await registry.cache.wait(revision)
        except TimeoutError:
            details = {
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            }
            message = f"Timeout: Too large resource version: {revision}, current: {registry.cache.revision}"
            raise ApiError(504, "Timeout", message, details) from None
