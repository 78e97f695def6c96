"""What several verbs need: the present state of one object, and waiting for a revision that is yet to come."""

from __future__ import annotations

import asyncio

from holdfast.kinds.kind import Kind
from holdfast.machinery import errors, fielderror
from holdfast.machinery.errors import ApiError
from holdfast.registry import codec
from holdfast.registry.core import Core
from holdfast.registry.request import Request, Stored

FUTURE_WAIT = 3.0
RETRIES = 64
"""Each lost race is somebody's won one: many may write the same object and all get through."""


def stored(core: Core, request: Request) -> Stored | None:
    """The object of a request as it is stored. Reads here see every write that was answered."""
    return core.cache.get(codec.key(request.kind, request.namespace, request.name))


def current(core: Core, request: Request) -> Stored:
    """As ``stored``, but absence is ApiError 404."""
    found = stored(core, request)
    if found is None:
        raise absent(request.kind, request.name)
    return found


def absent(kind: Kind, name: str) -> ApiError:
    return errors.not_found(kind.resource.plural, name, kind.resource.group)


def modified(kind: Kind, name: str, why: str = "") -> ApiError:
    return errors.conflict(kind.resource.plural, name, why, kind.resource.group)


def unconditional(kind: Kind, name: str) -> ApiError:
    """A write of a kind that must say what it replaces does not."""
    fault = fielderror.invalid("metadata.resourceVersion", 0, "must be specified for an update")
    return errors.invalid(kind.resource.plural, name, [fault], kind.resource.group)


def too_new(revision: int, newest: int) -> ApiError:
    details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}
    return ApiError(504, "Timeout", f"Timeout: Too large resource version: {revision}, current: {newest}", details)


async def not_older_than(core: Core, revision: int) -> None:
    """Waits a little for a revision that has not happened yet. Raises ApiError 504."""
    if revision <= core.cache.revision:
        return
    try:
        async with asyncio.timeout(FUTURE_WAIT):
            await core.cache.wait(revision)
    except TimeoutError:
        raise too_new(revision, core.cache.revision) from None


async def catch_up(core: Core) -> None:
    """After a lost race: the winner's write is committed but perhaps not in the cache yet. Read only once it is."""
    await core.cache.wait(core.store.revision)
