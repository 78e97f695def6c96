"""The watch cache: every live object in memory, fed by the store's watch, and the fan-out to watchers.

It starts a little in the past and replays the log up to now, so that watchers may resume across a
restart. Writers wait until their revision is applied: reads from here are linearizable on one server.
Each watcher has a bounded queue; one that does not keep up is cut, and resumes by resourceVersion.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.registry import codec
from holdfast.registry.request import Stored
from holdfast.store.api import Change, Store

WINDOW = 8192
QUEUE = 2048
ROOT = "/registry/"


@dataclass(frozen=True, slots=True)
class CacheEvent:
    """``old`` and ``new`` are the states around one write; a delete has its last state in ``new``."""

    type: str
    key: str
    new: Stored
    old: Stored | None

    @property
    def revision(self) -> int:
        return self.new.revision


class Subscription:
    """One watcher's queue. ``cut`` is set when it fell behind."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.events: deque[CacheEvent] = deque()
        self.wake = asyncio.Event()
        self.cut = False

    def offer(self, event: CacheEvent) -> None:
        if len(self.events) >= QUEUE:
            self.cut = True
            self.events.clear()
        if not self.cut:
            self.events.append(event)
        self.wake.set()


@dataclass
class _Collection:
    items: dict[str, Stored] = field(default_factory=dict)
    window: deque[CacheEvent] = field(default_factory=deque)
    dropped: int = 0
    """Revision of the newest event that the window let go."""
    order: list[str] | None = None
    subscriptions: set[Subscription] = field(default_factory=set)

    def keys(self) -> list[str]:
        if self.order is None:
            self.order = sorted(self.items)
        return self.order


class WatchCache:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._collections: dict[str, _Collection] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._listeners: list[Callable[[CacheEvent], None]] = []
        self.revision = 0
        self.oldest = 0

    async def start(self) -> None:
        """Loads the state of a while ago; ``run`` then replays up to now and follows."""
        self.oldest = self.revision = max(self._store.compacted, self._store.revision - WINDOW // 2, 0)
        if self.revision:
            for record in (await self._store.list(ROOT, revision=self.revision)).records:
                self._collection(record.key).items[record.key] = codec.stored(record)

    async def run(self) -> None:
        async for changes in self._store.watch(ROOT, self.revision):
            for change in changes:
                self._apply(change)
            self._release()

    def on_event(self, listener: Callable[[CacheEvent], None]) -> None:
        """Called for each applied write, in order (RBAC, address allocation)."""
        self._listeners.append(listener)

    def _collection(self, key: str) -> _Collection:
        """The collection a key or prefix belongs to: its first segment behind the root."""
        name = key[len(ROOT) :].partition("/")[0]
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = _Collection()
        return found

    def _apply(self, change: Change) -> None:
        key = change.record.key
        collection = self._collection(key)
        new = codec.stored(change.record)
        old = collection.items.get(key)
        if change.type == "delete":
            collection.items.pop(key, None)
            collection.order = None
        else:
            if old is None:
                collection.order = None
            collection.items[key] = new
        event = CacheEvent(change.type, key, new, old)
        collection.window.append(event)
        if len(collection.window) > WINDOW:
            collection.dropped = collection.window.popleft().revision
        self.revision = change.revision
        for listener in self._listeners:
            listener(event)
        for subscription in collection.subscriptions:
            if key.startswith(subscription.prefix):
                subscription.offer(event)

    def _release(self) -> None:
        waiting = []
        for revision, future in self._waiters:
            if revision > self.revision:
                waiting.append((revision, future))
            elif not future.done():
                future.set_result(None)
        self._waiters = waiting

    async def wait(self, revision: int) -> None:
        """Returns once ``revision`` is applied here."""
        if revision > self.revision:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((revision, future))
            await future

    def get(self, key: str) -> Stored | None:
        return self._collection(key).items.get(key)

    def list(self, prefix: str) -> list[Stored]:
        """Objects below a prefix, in key order."""
        collection = self._collection(prefix)
        keys = collection.keys()
        begin, end = bisect_left(keys, prefix), bisect_right(keys, prefix + "\U0010ffff")
        return [collection.items[key] for key in keys[begin:end]]

    def subscribe(self, prefix: str) -> Subscription:
        subscription = Subscription(prefix)
        self._collection(prefix).subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._collection(subscription.prefix).subscriptions.discard(subscription)

    def since(self, prefix: str, revision: int) -> tuple[CacheEvent, ...] | None:
        """Events below ``prefix`` after ``revision``; None when some of them are no longer here."""
        collection = self._collection(prefix)
        if revision < max(self.oldest, collection.dropped):
            return None
        return tuple(e for e in collection.window if e.revision > revision and e.key.startswith(prefix))

    def statistics(self) -> dict[str, int]:
        return {
            "objects": sum(len(c.items) for c in self._collections.values()),
            "watchers": sum(len(c.subscriptions) for c in self._collections.values()),
            "revision": self.revision,
        }
