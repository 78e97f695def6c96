"""The watch cache: every live object in memory, fed by the store's watch, and the fan-out to watchers.

It starts a little in the past and replays the log up to now, so that watchers may resume across a
restart. Writers wait until their revision is applied: reads from here are linearizable on one server.
Each watcher has a bounded queue; one that does not keep up is cut, and resumes by resourceVersion.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast.machinery import errors
from holdfast.registry import codec
from holdfast.registry.request import Stored
from holdfast.store.api import Change, CompactedError, Store

log = logging.getLogger("holdfast.registry")

WINDOW = 8192
QUEUE = 2048
PAGE = 20_000
"""Objects loaded at a time."""
ROOT = "/registry/"


class CacheEvent(NamedTuple):
    """``old`` and ``new`` are the states around one write; a delete has its last state in ``new``."""

    type: str
    key: str
    new: Stored
    old: Stored | None

    @property
    def revision(self) -> int:
        return self.new.revision


Listener = Callable[[CacheEvent | None], None]
"""Gets each applied write; None = everything may have changed."""


class Subscription:
    """One watcher's queue of what happens in its ``scope``. ``cut`` is set when it fell behind."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.events: deque[CacheEvent] = deque()
        self.wake = asyncio.Event()
        self.cut = False

    def end(self) -> None:
        self.cut = True
        self.events.clear()
        self.wake.set()

    def offer(self, event: CacheEvent) -> None:
        if len(self.events) >= QUEUE:
            self.end()
        if not self.cut:
            self.events.append(event)
        self.wake.set()


@dataclass
class _Collection:
    items: dict[str, Stored] = field(default_factory=dict)
    window: deque[CacheEvent] = field(default_factory=deque)
    dropped: int = 0
    """Revision of the newest event that the window let go."""
    keys: list[str] = field(default_factory=list)
    """Sorted keys of ``items``."""
    subscriptions: dict[str, dict[Subscription, None]] = field(default_factory=dict)
    """By scope; in the order they came: they are woken in it."""
    changed: int = 0
    """Revision of its last write."""

    def watchers(self) -> builtins.list[Subscription]:
        return [subscription for scope in self.subscriptions.values() for subscription in scope]


def _name(key: str) -> str:
    return key[len(ROOT) :].partition("/")[0]


def _scopes(key: str) -> tuple[str, ...]:
    """Where watchers of a key may stand: its collection, its namespace, itself, its name in any namespace."""
    container, _, name = key.rpartition("/")
    collection, inner, _namespace = container[len(ROOT) :].partition("/")
    if not inner:
        return f"{container}/", key
    return f"{ROOT}{collection}/", f"{container}/", key, f"{ROOT}{collection}/*/{name}"


class WatchCache:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._collections: dict[str, _Collection] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._listeners: list[Listener] = []
        self._closed = False
        self.revision = 0
        self.oldest = 0

    async def start(self) -> None:
        """Loads the state of a while ago; ``run`` then replays up to now and follows."""
        await self._load(max(self._store.compacted, self._store.revision - WINDOW // 2, 0))

    async def _load(self, revision: int) -> None:
        """Until all of it is read, readers see what was there before: never a part, never nothing."""
        collections: dict[str, _Collection] = {}
        after, more = "", revision > 0
        while more:
            page = await self._store.list(ROOT, revision=revision, after=after, limit=PAGE)
            for record in page.records:
                collection = collections.setdefault(_name(record.key), _Collection())
                collection.items[record.key] = codec.stored(record)
                collection.keys.append(record.key)  # listed in order
                collection.changed = revision
                after = record.key
            more = page.remaining > 0
        before, self._collections = self._collections, collections
        self.oldest = self.revision = revision
        for listener in self._listeners:
            listener(None)
        for old in before.values():
            for subscription in old.watchers():
                subscription.end()

    async def run(self) -> None:
        """Follows the store for ever. When it fell behind a compaction, it loads anew and cuts every watcher."""
        try:
            while True:
                try:
                    async for changes in self._store.watch("", self.revision):
                        for change in changes:
                            self._apply(change)
                        self._release()
                    raise errors.unavailable("the store was closed")
                except CompactedError:
                    log.warning("the watch cache fell behind a compaction and loads anew")
                    with contextlib.suppress(CompactedError):  # a newer one overtook the load: once more
                        await self._load(self._store.revision)
                        self._release()
        finally:
            self._closed = True
            for _, future in self._waiters:
                if not future.done():
                    future.set_exception(errors.unavailable("the watch cache has ended"))
            self._waiters.clear()
            for collection in self._collections.values():
                for subscription in collection.watchers():
                    subscription.end()

    def on_event(self, listener: Listener) -> None:
        """Called for each applied write, in order (RBAC, address allocation)."""
        self._listeners.append(listener)

    def _collection(self, key: str) -> _Collection:
        """The collection a key or prefix belongs to: its first segment behind the root."""
        name = _name(key)
        found = self._collections.get(name)
        if found is None:
            found = self._collections[name] = _Collection()
        return found

    def _apply(self, change: Change) -> None:
        key = change.record.key
        self.revision = change.revision
        if not key.startswith(ROOT):
            return
        collection = self._collection(key)
        new = codec.stored(change.record)
        old = collection.items.get(key)
        if change.type == "delete":
            if collection.items.pop(key, None) is not None:
                del collection.keys[bisect_left(collection.keys, key)]
        else:
            if old is None:
                insort(collection.keys, key)
            collection.items[key] = new
        collection.changed = change.revision
        event = CacheEvent(change.type, key, new, old)
        collection.window.append(event)
        while len(collection.window) > WINDOW:
            collection.dropped = collection.window.popleft().revision
        for listener in self._listeners:
            listener(event)
        if collection.subscriptions:
            for scope in _scopes(key):
                for subscription in collection.subscriptions.get(scope, ()):
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
        if self._closed:
            raise errors.unavailable("the watch cache has ended")
        if revision > self.revision:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            entry = (revision, future)
            self._waiters.append(entry)
            try:
                await future
            finally:
                if entry in self._waiters:  # given up waiting
                    self._waiters.remove(entry)

    def get(self, key: str) -> Stored | None:
        return self._collection(key).items.get(key)

    def list(self, prefix: str) -> builtins.list[Stored]:
        """Objects below a prefix, in key order."""
        collection = self._collection(prefix)
        keys = collection.keys
        begin, end = bisect_left(keys, prefix), bisect_right(keys, prefix + "\U0010ffff")
        return [collection.items[key] for key in keys[begin:end]]

    def count(self, prefix: str) -> int:
        keys = self._collection(prefix).keys
        return bisect_right(keys, prefix + "\U0010ffff") - bisect_left(keys, prefix)

    def count_after(self, prefix: str, after: str) -> int:
        keys = self._collection(prefix).keys
        return bisect_right(keys, prefix + "\U0010ffff") - bisect_right(keys, after)

    def changed(self, prefix: str) -> int:
        """Revision of the last write in the collection of ``prefix``."""
        return self._collection(prefix).changed

    def page(self, prefix: str, after: str, limit: int) -> builtins.list[Stored]:
        """At most ``limit`` (0 = all) objects below a prefix, keys > ``after``, in key order."""
        collection = self._collection(prefix)
        keys = collection.keys
        begin = bisect_right(keys, after) if after else bisect_left(keys, prefix)
        end = bisect_right(keys, prefix + "\U0010ffff")
        return [collection.items[key] for key in keys[begin : min(end, begin + limit) if limit else end]]

    def named(self, prefix: str, name: str, after: str = "") -> builtins.list[Stored]:
        """Objects of a name below a prefix, keys > ``after``, in key order: one, or one in each namespace."""
        collection = self._collection(prefix)
        if (one := collection.items.get(prefix + name)) is not None:
            return [one] if prefix + name > after else []
        keys, suffix = collection.keys, f"/{name}"
        begin, end = bisect_right(keys, max(prefix, after)), bisect_right(keys, prefix + "\U0010ffff")
        return [collection.items[key] for key in keys[begin:end] if key.endswith(suffix)]

    def subscribe(self, scope: str) -> Subscription:
        """To a prefix that ends with "/", to one key, or to a name in every namespace ("/registry/pods/*/web-0")."""
        subscription = Subscription(scope)
        self._collection(scope).subscriptions.setdefault(scope, {})[subscription] = None
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        subscriptions, scope = self._collection(subscription.scope).subscriptions, subscription.scope
        if scope in subscriptions:
            subscriptions[scope].pop(subscription, None)
            if not subscriptions[scope]:
                del subscriptions[scope]

    def since(self, prefix: str, revision: int) -> tuple[CacheEvent, ...] | None:
        """Events below ``prefix`` after ``revision``; None when some of them are no longer here."""
        collection = self._collection(prefix)
        if revision < max(self.oldest, collection.dropped):
            return None
        return tuple(e for e in collection.window if e.revision > revision and e.key.startswith(prefix))

    def statistics(self) -> dict[str, int]:
        return {
            "objects": sum(len(c.items) for c in self._collections.values()),
            "watchers": sum(len(c.watchers()) for c in self._collections.values()),
            "revision": self.revision,
        }
