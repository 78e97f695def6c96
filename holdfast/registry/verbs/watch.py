"""watch: what happened after a revision, then what happens, in order, each once, until the time is up.

The watcher subscribes first, then reads what lies between its revision and that moment from the cache's
window or, when that is too short, from the store's log; the queue holds what comes after. A watcher that
is too slow is cut (its stream ends): it resumes by resourceVersion and loses nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

import orjson

from holdfast.kinds.kind import Kind, Obj
from holdfast.lib.turns import turns
from holdfast.machinery import errors
from holdfast.registry import codec, options, selection
from holdfast.registry.cache import CacheEvent, Subscription
from holdfast.registry.core import Core
from holdfast.registry.request import Event, Request, Stored
from holdfast.registry.selection import Predicate, predicate
from holdfast.registry.verbs.common import not_older_than
from holdfast.store.api import CompactedError

BOOKMARK_SECONDS = 60.0
SHORT = 5.0
"""A watch this short has no last bookmark: it would come with the first event."""
BEFORE_END = 2.0
"""A last bookmark goes out this long before the end, so that the next watch starts close."""
MIN_SECONDS = 1800
REPLAY = 500
"""Changes read from the log at a time."""
_SENT = {"create": "ADDED", "update": "MODIFIED", "delete": "DELETED"}


def watch(core: Core, request: Request) -> AsyncGenerator[list[Event], None]:
    """Events in batches. Checks the request at once (ApiError); an expired revision is raised by the iterator's first step."""
    options.check_list(request.options, watch=True)
    selected = predicate(request)
    revision = options.revision(request.options.get("resourceVersion", ""))
    seconds = options.integer(request.options, "timeoutSeconds") or random.SystemRandom().uniform(MIN_SECONDS, 2 * MIN_SECONDS)
    return _Watch(core, request, selected, revision, float(seconds)).run()


async def _woken(wake: asyncio.Event, due: float) -> None:
    """Until somebody wakes us, or ``due`` (the loop's time)."""
    wake.clear()
    alarm = asyncio.get_running_loop().call_at(due, wake.set)
    try:
        await wake.wait()
    finally:
        alarm.cancel()


class _Watch:
    def __init__(self, core: Core, request: Request, selected: Predicate | None, revision: int, seconds: float) -> None:
        self.core = core
        self.kind: Kind = request.kind
        self.prefix = codec.prefix(request.kind, request.namespace)
        self.selected = selected
        self.name = selection.one_name(request)
        self.scope = self._scope(self.name)
        self.revision = revision
        self.bookmarks = options.flag(request.options, "allowWatchBookmarks")
        self.given = request.options.get("resourceVersion", "")
        self.initial = "sendInitialEvents" in request.options
        self.send_initial = options.flag(request.options, "sendInitialEvents")
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.end = self.now() + seconds
        self.next_bookmark = self.now() + BOOKMARK_SECONDS
        self.last_bookmark = seconds < SHORT

    async def run(self) -> AsyncGenerator[list[Event], None]:
        if self.send_initial:
            await not_older_than(self.core, self.revision)
        subscription = self.core.cache.subscribe(self.scope)
        try:
            async for batch in self._begin():
                if batch:
                    yield batch
            async for batch in self._follow(subscription):
                yield batch
        finally:
            self.core.cache.unsubscribe(subscription)

    async def _begin(self) -> AsyncIterator[list[Event]]:
        """What was before the subscription; ``self.revision`` says up to where the watcher has seen."""
        cache = self.core.cache
        if self.send_initial or (not self.initial and self.given in ("", "0")):
            self.revision = upto = cache.revision
            items = cache.named(self.prefix, self.name) if self.name else cache.list(self.prefix)
            async for part in turns(items):
                chosen = part if self.selected is None else [item for item in part if self.selected(item.peek())]
                yield [Event("ADDED", codec.serve(self.kind, item)) for item in chosen]
            if self.send_initial and self.bookmarks:
                yield [self._bookmark(upto, annotations={"k8s.io/initial-events-end": "true"})]
            return
        if self.given in ("", "0"):
            self.revision = cache.revision
        since, upto = self.revision, cache.revision
        if since >= upto:
            return
        self.revision = upto
        known = cache.since(self.prefix, since)
        if known is None:
            async for read in self._log(since, upto):
                yield self._shown(read)
            return
        async for some in turns(known):
            yield self._shown(some)

    def _shown(self, events: Iterable[CacheEvent]) -> list[Event]:
        return [shown for event in events if (shown := self._show(event)) is not None]

    async def _log(self, since: int, upto: int) -> AsyncIterator[list[CacheEvent]]:
        """Events after ``since`` up to ``upto`` from the store."""
        seen = since
        try:
            while True:
                batch = await self.core.store.history(self.prefix, seen, REPLAY)
                yield [
                    CacheEvent(change.type, change.record.key, codec.stored(change.record), codec.stored(before) if before else None)
                    for change, before in batch
                    if change.revision <= upto
                ]
                if len(batch) < REPLAY or batch[-1][0].revision >= upto:
                    return
                seen = batch[-1][0].revision
        except CompactedError as error:
            raise errors.expired(f"too old resource version: {seen} ({error.oldest})") from None

    async def _follow(self, subscription: Subscription) -> AsyncIterator[list[Event]]:
        while True:
            if subscription.events:
                queued = [event for event in subscription.events if event.revision > self.revision]
                subscription.events.clear()
                if shown := self._shown(queued):
                    yield shown
                continue
            if subscription.cut:
                return
            due = self._due()
            if self.now() < due:
                await _woken(subscription.wake, due)
            elif self.now() >= self.end:
                return
            elif self.bookmarks and self.now() >= self._bookmark_due():
                # Nothing is queued, so everything of the collection up to the cache's revision has been shown.
                self.last_bookmark = self.now() >= self.end - BEFORE_END
                self.next_bookmark = self.now() + BOOKMARK_SECONDS
                yield [self._bookmark(max(self.core.cache.revision, self.revision))]

    def _scope(self, name: str) -> str:
        """Where to subscribe: a watcher of one name is not woken for others."""
        in_any = self.kind.resource.namespaced and self.prefix == codec.prefix(self.kind)
        return (f"{self.prefix}*/{name}" if in_any else self.prefix + name) if name else self.prefix

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
