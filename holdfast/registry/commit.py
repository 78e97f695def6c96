"""The commit: from a walked write to the store and through the watch cache, or, in a dry run, nowhere.

The store compares and swaps; nothing here does. A write's answer waits for the cache, so reads that
follow it see it (DESIGN rule 7).
"""

from __future__ import annotations

from collections.abc import Awaitable

from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors, meta
from holdfast.registry import codec
from holdfast.registry.cache import WatchCache
from holdfast.registry.request import Stored
from holdfast.store.api import KeyExistsError, Record, Store, StoreFullError

LIMIT = 1536 * 1024


class Committer:
    def __init__(self, store: Store, cache: WatchCache) -> None:
        self._store = store
        self._cache = cache
        self.writes = 0

    async def create(self, kind: Kind, obj: Obj, *, dry_run: bool) -> Stored:
        """Raises KeyExistsError."""
        key, value = _keyed(kind, obj), _encode(kind, obj)
        if dry_run:
            if self._cache.get(key) is not None:
                raise KeyExistsError(key)
            return codec.serve(kind, codec.unversioned(value))
        return await self._applied(kind, key, value, await _written(self._store.create(key, value)))

    async def update(self, kind: Kind, obj: Obj, current: Stored, *, dry_run: bool) -> Stored:
        """Raises MismatchError when ``current`` is no longer what is stored."""
        key, value = _keyed(kind, obj), _encode(kind, obj)
        if dry_run:
            return codec.serve(kind, codec.stored(Record(key, value, current.revision, 0)))
        return await self._applied(kind, key, value, await _written(self._store.update(key, value, current.revision)))

    async def delete(self, kind: Kind, obj: Obj, current: Stored, *, dry_run: bool) -> Stored:
        """``obj`` is the last state that watchers are shown. Raises MismatchError."""
        key, value = _keyed(kind, obj), _encode(kind, obj)
        if dry_run:
            return codec.serve(kind, codec.stored(Record(key, value, current.revision, 0)))
        revision = await _written(self._store.delete(key, current.revision, value))
        self.writes += 1
        await self._cache.wait(revision)
        return codec.serve(kind, codec.stored(Record(key, value, revision, 0)))

    async def _applied(self, kind: Kind, key: str, value: bytes, revision: int) -> Stored:
        self.writes += 1
        await self._cache.wait(revision)
        found = self._cache.get(key)
        if found is None or found.revision != revision:
            found = codec.stored(Record(key, value, revision, 0))
        return codec.serve(kind, found)


async def _written(write: Awaitable[int]) -> int:
    """Raises ApiError 507 when the disk is full: the write did not happen, which is no secret to whoever asked for it."""
    try:
        return await write
    except StoreFullError as error:
        raise errors.full(str(error)) from error


def _keyed(kind: Kind, obj: Obj) -> str:
    return codec.key(kind, meta.namespace(obj), meta.name(obj))


def _encode(kind: Kind, obj: Obj) -> bytes:
    value = codec.encode(kind, obj)
    if len(value) > LIMIT:
        raise errors.too_large(LIMIT)
    return value
