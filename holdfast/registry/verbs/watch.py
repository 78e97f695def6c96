"""watch: events of a collection after a revision, as the selector sees them.

Without a revision (or at 0) the current state comes first as ADDED. An object that leaves the selector
is DELETED, one that enters is ADDED. Bookmarks only ever name a revision that was delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import orjson

from holdfast.kinds.kind import Kind
from holdfast.machinery import errors, fielderror
from holdfast.registry import codec
from holdfast.registry.cache import CacheEvent, Subscription
from holdfast.registry.request import Event, Request, Stored
from holdfast.registry.selection import Predicate, predicate
from holdfast.registry.verbs.get import parse_revision

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

BOOKMARK_SECONDS = 60.0


async def execute(registry: Registry, request: Request) -> AsyncIterator[Event]:
    """Raises ApiError before the first event for a refused request, and 410 for a revision that is too old."""
    registry.rbac.authorize(request)
    options = request.options
    initial = options.get("sendInitialEvents", "").lower() in ("true", "1")
    _check(request, initial)
    selected = predicate(request)
    version = options.get("resourceVersion", "")
    revision = parse_revision(version)
    bookmarks = options.get("allowWatchBookmarks", "").lower() in ("true", "1")
    prefix = codec.prefix(request.kind, request.namespace)
    subscription = registry.cache.subscribe(prefix)
    try:
        seen = registry.cache.revision
        if revision == 0 or initial:
            for item in registry.cache.list(prefix):
                served = codec.serve(request.kind, item)
                if selected is None or selected(served.obj):
                    yield Event("ADDED", served)
            if initial and bookmarks:
                yield bookmark(request.kind, seen, initial=True)
        else:
            past = registry.cache.since(prefix, revision)
            if past is None:
                raise errors.expired(f"too old resource version: {revision} ({registry.cache.oldest})")
            for change in past:
                if change.revision <= seen and (event := translate(request.kind, change, selected)):
                    yield event
            seen = max(seen, revision)
        async for event in _follow(registry, request.kind, subscription, selected, seen, bookmarks=bookmarks):
            yield event
    finally:
        registry.cache.unsubscribe(subscription)


def _check(request: Request, initial: bool) -> None:
    match = request.options.get("resourceVersionMatch", "")
    found = []
    if "sendInitialEvents" in request.options:
        if match != "NotOlderThan":
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            found.append(fielderror.forbidden("resourceVersionMatch", text))
    elif match:
        found.append(
            fielderror.forbidden(
                "resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
        )
    if found:
        raise errors.invalid("ListOptions", "", found, "meta.k8s.io")


async def _follow(
    registry: Registry, kind: Kind, subscription: Subscription, selected: Predicate | None, seen: int, *, bookmarks: bool
) -> AsyncIterator[Event]:
    while not subscription.cut:
        while subscription.events:
            change = subscription.events.popleft()
            if change.revision > seen:
                seen = change.revision
                if event := translate(kind, change, selected):
                    yield event
        subscription.wake.clear()
        if subscription.events:
            continue
        try:
            async with asyncio.timeout(BOOKMARK_SECONDS):
                await subscription.wake.wait()
        except TimeoutError:
            # Nothing waits in the queue, so everything up to the cache's revision was delivered.
            if bookmarks and not subscription.events:
                seen = max(seen, registry.cache.revision)
                yield bookmark(kind, seen)


def translate(kind: Kind, change: CacheEvent, selected: Predicate | None) -> Event | None:
    """The event a watcher with this selector sees of a write; None when it sees nothing."""
    new = codec.serve(kind, change.new)
    old = codec.serve(kind, change.old) if change.old else None
    now = change.type != "delete" and (selected is None or selected(new.obj))
    before = old is not None and (selected is None or selected(old.obj))
    if now:
        return Event("MODIFIED" if before else "ADDED", new)
    if not before:
        return None
    if change.type == "delete" or old is None:
        return Event("DELETED", new)
    # It left the selector: watchers see its last state that fitted, at the revision at which it left.
    obj = dict(old.obj, metadata=dict(old.obj["metadata"], resourceVersion=str(change.revision)))
    return Event("DELETED", Stored(orjson.dumps(obj), change.revision))


def bookmark(kind: Kind, revision: int, *, initial: bool = False) -> Event:
    metadata: dict[str, object] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj = {"kind": kind.resource.kind, "apiVersion": kind.resource.api_version, "metadata": metadata}
    return Event("BOOKMARK", Stored(orjson.dumps(obj), revision))
