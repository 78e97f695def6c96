"""Objects with a time to live (Events) are removed by one slow sweep: read live, deleted only as they were read."""

from __future__ import annotations

import asyncio
import logging

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from holdfast.registry import codec
from holdfast.registry.core import Core
from holdfast.registry.request import Stored
from holdfast.store.api import MismatchError, StoreFullError

log = logging.getLogger("holdfast.registry")
SECONDS = 60.0


async def sweep(core: Core) -> None:
    while True:
        await asyncio.sleep(SECONDS)
        await sweep_once(core)


async def sweep_once(core: Core) -> int:
    """Returns how many were removed."""
    ttl = {codec.prefix(kind): kind.event_ttl_seconds for kind in core.kinds if kind.event_ttl_seconds}
    removed = 0
    for prefix, seconds in ttl.items():
        limit = core.clock.now() - seconds
        for item in core.cache.list(prefix):
            if _last_seen(item.obj) < limit and await _remove(core, prefix, item):
                removed += 1
    return removed


async def _remove(core: Core, prefix: str, item: Stored) -> bool:
    metadata = item.obj["metadata"]
    try:
        revision = await core.store.delete(f"{prefix}{metadata['namespace']}/{metadata['name']}", item.revision)
    except MismatchError:
        return False  # written again in between: it lives on
    except StoreFullError:
        return False  # the next round does it
    await core.cache.wait(revision)
    return True


def _last_seen(event: Obj) -> float:
    """The latest moment an event names; one that names none is never swept."""
    texts = (
        (event.get("series") or {}).get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    moments = []
    for text in texts:
        try:
            moments.append(parse_rfc3339(text) if text else 0.0)
        except ValueError:
            log.warning("an event has the malformed time %r", text)
    return max(moments, default=0.0) or float("inf")
