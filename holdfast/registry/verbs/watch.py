"""watch: what happened after a revision, then what happens, in order, each once, until the time is up.

The watcher subscribes first, then reads what lies between its revision and that moment from the cache's
window or, when that is too short, from the store's log; the queue holds what comes after. A watcher that
is too slow is cut (its stream ends): it resumes by resourceVersion and loses nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator

import orjson

from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors
from holdfast.registry import codec, options
from holdfast.registry.cache import CacheEvent, Subscription
from holdfast.registry.core import Core
from holdfast.registry.request import Event, Request, Stored
from holdfast.registry.selection import Predicate, predicate
from holdfast.registry.verbs.common import not_older_than
from holdfast.store.api import CompactedError

BOOKMARK_SECONDS = 60.0
BEFORE_END = 2.0
"""A last bookmark goes out this long before the end, so that the next watch starts close."""
MIN_SECONDS = 1800
REPLAY = 1000
_SENT = {"create": "ADDED", "update": "MODIFIED", "delete": "DELETED"}


def watch(core: Core, request: Request) -> AsyncGenerator[Event, None]:
    """Checks the request at once (ApiError); an expired revision is raised by the first step of the iterator."""
    options.check_list(request.options, watch=True)
    selected = predicate(request)
    revision = options.revision(request.options.get("resourceVersion", ""))
    seconds = options.integer(request.options, "timeoutSeconds") or random.SystemRandom().uniform(MIN_SECONDS, 2 * MIN_SECONDS)
    return _Watch(core, request, selected, revision, float(seconds)).run()


class _Watch:
    def __init__(self, core: Core, request: Request, selected: Predicate | None, revision: int, seconds: float) -> None:
        self.core = core
        self.kind: Kind = request.kind
        self.prefix = codec.prefix(request.kind, request.namespace)
        self.selected = selected
        self.revision = revision
        self.bookmarks = options.flag(request.options, "allowWatchBookmarks")
        self.given = request.options.get("resourceVersion", "")
        self.initial = "sendInitialEvents" in request.options
        self.send_initial = options.flag(request.options, "sendInitialEvents")
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.end = self.now() + seconds
        self.next_bookmark = self.now() + BOOKMARK_SECONDS
        self.last_bookmark = False

    async def run(self) -> AsyncGenerator[Event, None]:
        if self.send_initial:
            await not_older_than(self.core, self.revision)
        subscription = self.core.cache.subscribe(self.prefix)
        try:
            async for event in self._begin():
                yield event
            async for event in self._follow(subscription):
                yield event
        finally:
            self.core.cache.unsubscribe(subscription)

    async def _begin(self) -> AsyncIterator[Event]:
        """What was before the subscription; ``self.revision`` then says up to where the watcher has seen."""
        cache = self.core.cache
        if self.send_initial or (not self.initial and self.given in ("", "0")):
            upto = cache.revision
            items = cache.list(self.prefix)
            for item in items:
                if self.selected is None or self.selected(item.obj):
                    yield Event("ADDED", codec.serve(self.kind, item))
            self.revision = upto
            if self.send_initial and self.bookmarks:
                yield self._bookmark(upto, annotations={"k8s.io/initial-events-end": "true"})
            return
        if self.given in ("", "0"):
            self.revision = cache.revision
        upto = cache.revision
        if self.revision >= upto:
            return
        known = cache.since(self.prefix, self.revision)
        if known is not None:
            for event in known:
                if (shown := self._show(event)) is not None:
                    yield shown
        else:
            for event in await self._log(upto):
                if (shown := self._show(event)) is not None:
                    yield shown
        self.revision = upto

    async def _log(self, upto: int) -> list[CacheEvent]:
        """Events after ``self.revision`` up to ``upto`` from the store."""
        found: list[CacheEvent] = []
        seen = self.revision
        try:
            while True:
                batch = await self.core.store.history(self.prefix, seen, REPLAY)
                for change, before in batch:
                    if change.revision > upto:
                        return found
                    old = codec.stored(before) if before else None
                    found.append(CacheEvent(change.type, change.record.key, codec.stored(change.record), old))
                if len(batch) < REPLAY:
                    return found
                seen = batch[-1][0].revision
        except CompactedError as error:
            raise errors.expired(f"too old resource version: {self.revision} ({error.oldest})") from None

    async def _follow(self, subscription: Subscription) -> AsyncIterator[Event]:
        while True:
            while subscription.events:
                event = subscription.events.popleft()
                if event.revision > self.revision:
                    shown = self._show(event)
                    if shown is not None:
                        yield shown
            if subscription.cut:
                return
            subscription.wake.clear()
            wait = self._due() - self.now()
            if wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await subscription.wake.wait()
                    continue
                except TimeoutError:
                    pass
            if subscription.events:
                continue
            if self.now() >= self.end:
                return
            if self.bookmarks and self.now() >= self._bookmark_due():
                # Nothing is queued, so everything of the collection up to the cache's revision has been shown.
                self.last_bookmark = self.now() >= self.end - BEFORE_END
                self.next_bookmark = self.now() + BOOKMARK_SECONDS
                yield self._bookmark(max(self.core.cache.revision, self.revision))

    def _bookmark_due(self) -> float:
        if self.last_bookmark:
            return self.end
        return min(self.next_bookmark, self.end - BEFORE_END)

    def _due(self) -> float:
        return min(self.end, self._bookmark_due()) if self.bookmarks else self.end

    def _show(self, event: CacheEvent) -> Event | None:
        """The event as this watcher sees it: leaving the selector is DELETED, entering it ADDED."""
        if self.selected is None:
            return Event(_SENT[event.type], codec.serve(self.kind, event.new))
        before = event.old is not None and self.selected(event.old.obj)
        after = event.type != "delete" and self.selected(event.new.obj)
        if before and after:
            return Event("MODIFIED", codec.serve(self.kind, event.new))
        if after:
            return Event("ADDED", codec.serve(self.kind, event.new))
        if not before or event.old is None:
            return None
        last = event.new if event.type == "delete" else codec.at_revision(event.old, event.revision)
        return Event("DELETED", codec.serve(self.kind, last))

    def _bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> Event:
        resource = self.kind.resource
        metadata: Obj = {"resourceVersion": str(revision)}
        if annotations:
            metadata["annotations"] = annotations
        body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return Event("BOOKMARK", Stored(orjson.dumps(body), revision))
