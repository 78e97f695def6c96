"""The store on SQLite: WAL, synchronous=FULL, one writer thread with group commit.

Writers queue their operations; the thread drains the queue into one transaction, so that one fsync
serves all who waited for the last one. Compare-and-swap happens inside that transaction. When the
commit returns, the batch goes to the loop: first to watchers, then the writers' futures resolve.
An I/O error at commit leaves the outcome unknown (fsync must not be retried), so the process ends
through ``on_fatal`` and the next start reads the truth from disk (HAZ-3, HAZ-4). Reads go through a
connection of their own: points on the loop (microseconds), lists and log reads in a thread.
"""

from __future__ import annotations

import asyncio
import builtins
import fcntl
import logging
import os
import queue
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import apsw

from holdfast.store.api import (
    Change,
    CompactedError,
    FutureRevisionError,
    KeyExistsError,
    MismatchError,
    Page,
    Record,
    StoreFullError,
)
from holdfast.store.watch import Hub

log = logging.getLogger("holdfast.store")

TYPES = ("create", "update", "delete")
_POINT = (
    "SELECT c.key, c.value, c.revision, c.created, c.checksum FROM live l JOIN changes c ON c.revision = l.revision WHERE l.key = ?"
)
_AT = "SELECT key, value, revision, created, checksum FROM changes WHERE revision = ?"
_HEADS = "SELECT l.key, l.revision, c.created FROM live l JOIN changes c ON c.revision = l.revision"
_FORGET = """DELETE FROM changes WHERE revision IN (
    SELECT IIF(type = 2, revision, 0) FROM changes WHERE revision > ?1 AND revision <= ?2
    UNION ALL SELECT previous FROM changes WHERE revision > ?1 AND revision <= ?2
)"""
_ROWS = 32
_Row = tuple[int, int, str, int, int, int, bytes]
_Head = tuple[int, int]
"""Revisions of a live key's newest change and of the one that created it."""
_KEYS_NOW = "SELECT key, revision FROM live WHERE key >= ?1 AND key < ?2 AND key > ?3 AND revision <= ?4 ORDER BY key LIMIT ?5"
# What was live then: what has not been touched since, and of what has, what the first touch replaced.
_KEYS_THEN = f"""SELECT key, revision FROM ({_KEYS_NOW}) UNION ALL SELECT key, previous FROM (
    SELECT key, previous, MIN(revision) FROM changes WHERE revision > ?4 AND key >= ?1 AND key < ?2 AND key > ?3 GROUP BY key
) WHERE previous > 0 ORDER BY key LIMIT ?5"""
HISTORY = 20_000
"""Revisions kept for watchers and pages that come back; older history is compacted, some at a time."""
COMPACT_EVERY = 2_000


class StoreError(RuntimeError):
    """The data cannot be used; the text names the path, the cause and the remedy."""


@dataclass(slots=True)
class _Write:
    type: str
    key: str
    value: bytes | None
    expected: int
    future: asyncio.Future[int]


def _die(error: BaseException) -> None:
    log.critical("the store cannot promise durability any more: %s", error)
    os._exit(70)


def _checksum(key: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode()))


@cache
def _insert(rows: int) -> str:
    return f"INSERT INTO changes VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * rows)}"


def _counter(database: apsw.Connection, name: str) -> int:
    row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def _newest(database: apsw.Connection) -> int:
    """The counter: it never goes back, since only history up to ``compacted`` is ever forgotten (HAZ-1)."""
    row = database.execute("SELECT MAX(revision) FROM changes").fetchone()
    return max(int(row[0] or 0) if row else 0, _counter(database, "revision"), _counter(database, "compacted"))


def _check_kept(database: apsw.Connection, revision: int) -> None:
    """In the transaction that reads: the writer may have compacted since the revision was asked for. Raises CompactedError."""
    compacted = _counter(database, "compacted")
    if revision and revision < compacted:
        raise CompactedError(compacted)


class SqliteStore:
    def __init__(self, path: Path, *, on_fatal: Callable[[BaseException], None] = _die, vfs: str = "") -> None:
        self.path = path
        self._on_fatal = on_fatal
        self._vfs = vfs
        self._queue: queue.SimpleQueue[_Write | Callable[[], None] | None] = queue.SimpleQueue()
        self._hub = Hub(self._read_changes)
        self._revision = 0
        self._compacted = 0
        self._working = False
        self._reading = threading.Lock()
        """Held by the thread that uses the reader: a connection serves one at a time."""
        self._lock: IO[str] | None = None
        self._batches = self._writes = 0

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        self._writer = self._connect()
        self._writer.execute((Path(__file__).parent / "schema.sql").read_text())
        self._reader = self._connect()
        self._points = self._connect()
        problems = [row[0] for row in self._writer.execute("PRAGMA quick_check") if row[0] != "ok"]
        if problems:
            raise StoreError(f"{self.path}: the database is damaged ({problems[0]}); restore a copy or move it away")
        self._revision = _newest(self._writer)
        self._heads: dict[str, _Head] = {key: (revision, created) for key, revision, created in self._writer.execute(_HEADS)}
        self._compacted = self._meta("compacted")
        self._hub.revision = self._revision
        self._start_writer()
        self._working = True

    def _take_lock(self) -> None:
        lock = (self.path.parent / (self.path.name + ".lock")).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StoreError(f"{self.path} is in use by another process (pid {holder}): stop it, or name another --data") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _connect(self) -> apsw.Connection:
        self.path.touch(mode=0o600)  # Secrets lie in it; SQLite gives its other files the rights of this one
        connection = apsw.Connection(str(self.path), vfs=self._vfs or None)
        connection.set_busy_timeout(5000)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _meta(self, name: str) -> int:
        return _counter(self._writer, name)

    async def close(self) -> None:
        self._hub.close()
        if self._working:
            await self._stop_writer()
            self._working = False
            for connection in (self._points, self._reader, self._writer):
                connection.close()
        if self._lock:
            self._lock.close()
            self._lock = None

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def compacted(self) -> int:
        return self._compacted

    def statistics(self) -> Mapping[str, float]:
        return {"revision": self._revision, "batches": self._batches, "writes": self._writes, "watchers": len(self._hub)}

    # Writes

    async def create(self, key: str, value: bytes) -> int:
        return await self._submit("create", key, value, 0)

    async def update(self, key: str, value: bytes, expected: int) -> int:
        return await self._submit("update", key, value, expected)

    async def delete(self, key: str, expected: int, value: bytes | None = None) -> int:
        return await self._submit("delete", key, value, expected)

    async def _submit(self, type: str, key: str, value: bytes | None, expected: int) -> int:
        future: asyncio.Future[int] = self._loop.create_future()
        self._enqueue(_Write(type, key, value, expected, future))
        return await future

    # Where the writer works; the lab runs its turns on virtual time instead.

    def _start_writer(self) -> None:
        self._thread = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._thread.start()

    async def _stop_writer(self) -> None:
        self._enqueue(None)
        await asyncio.to_thread(self._thread.join)

    def _enqueue(self, item: _Write | Callable[[], None] | None) -> None:
        self._queue.put(item)

    def _write_loop(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Commits what has queued up, waiting for a first item. False: there will be no next turn."""
        items: list[_Write | Callable[[], None] | None] = [self._queue.get()]
        while len(items) < 512:
            try:
                items.append(self._queue.get_nowait())
            except queue.Empty:
                break
        writes = [item for item in items if isinstance(item, _Write)]
        chores = [item for item in items if callable(item)]
        try:
            if writes:
                self._commit(writes)
            for chore in chores:
                chore()
        except apsw.Error as error:
            self._on_fatal(error)
            return False
        return None not in items

    def _commit(self, writes: list[_Write]) -> None:
        """One transaction for all; nothing is told to anyone before it is on disk.

        As few statements as can be, one for most batches: at each the interpreter's lock changes hands. So the heads, which
        writes are compared with, are kept in memory; this thread alone changes them.
        """
        revision = self._revision
        changes: list[Change] = []
        rows: list[_Row] = []
        outcomes: list[tuple[asyncio.Future[int], int | Exception]] = []
        touched: dict[str, Record | None] = {}
        """What this batch has made of its keys so far."""
        for write in writes:
            refusal = self._refusal(write, touched)
            if refusal is None:
                revision += 1
                changes.append(self._change_of(write, revision, touched, rows))
            outcomes.append((write.future, refusal or revision))
        try:
            self._insert(rows)
        except apsw.FullError as error:
            return self._refuse(outcomes, error)
        for key, record in touched.items():
            if record is None:
                self._heads.pop(key, None)
            else:
                self._heads[key] = (record.revision, record.created)
        self._batches += 1
        self._writes += len(changes)
        # First of all: the loop may answer a writer, and it read at this revision, before this thread goes on.
        self._revision = revision
        self._loop.call_soon_threadsafe(self._committed, changes, revision, outcomes)
        if revision - self._compacted > HISTORY + COMPACT_EVERY:
            self._compact(revision - HISTORY)

    def _refuse(self, outcomes: list[tuple[asyncio.Future[int], int | Exception]], error: apsw.Error) -> None:
        """None of a batch happened, for the disk is full: that is known for certain, unlike after a failed sync."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        log.error("the disk under %s is full: %d writes are refused", self.path, len(outcomes))
        full = StoreFullError(f"the disk under {self.path.parent} is full ({error}): free some space; nothing was written")
        # Those too that were refused already: what they were compared with may be a write of this batch.
        refused: list[tuple[asyncio.Future[int], int | Exception]] = [(future, full) for future, _ in outcomes]
        self._loop.call_soon_threadsafe(self._committed, [], self._revision, refused)

    def _insert(self, rows: list[_Row]) -> None:
        parts = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
        several = len(parts) > 1  # one statement is a transaction of its own
        if several:
            self._writer.execute("BEGIN IMMEDIATE")
        for part in parts:
            self._writer.execute(_insert(len(part)), [field for row in part for field in row])
        if several:
            self._writer.execute("COMMIT")

    def _head(self, key: str, touched: dict[str, Record | None]) -> _Head | None:
        if key not in touched:
            return self._heads.get(key)
        record = touched[key]
        return (record.revision, record.created) if record else None

    def _refusal(self, write: _Write, touched: dict[str, Record | None]) -> Exception | None:
        head = self._head(write.key, touched)
        if write.type == "create":
            return KeyExistsError(write.key) if head is not None else None
        if head is not None and head[0] == write.expected:
            return None
        return MismatchError(self._current(write.key, touched))

    def _current(self, key: str, touched: dict[str, Record | None]) -> Record | None:
        return touched[key] if key in touched else self._live(self._writer, key)

    def _change_of(self, write: _Write, revision: int, touched: dict[str, Record | None], rows: list[_Row]) -> Change:
        key, value, head = write.key, write.value, self._head(write.key, touched)
        if value is None:  # a delete that shows what was there
            current = self._current(key, touched)
            value = current.value if current else b""
        before, created = head or (0, revision)
        rows.append((revision, TYPES.index(write.type), key, created, before, _checksum(key, value), value))
        record = Record(key, value, revision, created)
        touched[key] = None if write.type == "delete" else record
        return Change(write.type, record)

    def _committed(self, changes: list[Change], revision: int, outcomes: list[tuple[asyncio.Future[int], int | Exception]]) -> None:
        self._hub.publish(changes, revision)
        for future, outcome in outcomes:
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    async def compact(self, revision: int) -> None:
        done: asyncio.Future[None] = self._loop.create_future()

        def answer() -> None:
            if not done.done():  # whoever asked may have gone away
                done.set_result(None)

        def chore() -> None:
            self._compact(min(revision, self._revision))
            self._loop.call_soon_threadsafe(answer)

        self._enqueue(chore)
        await done

    def _compact(self, revision: int) -> None:
        """Forgets what nobody can see who stands at ``revision`` or later: what was replaced or deleted up to then."""
        if revision <= self._compacted:
            return
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("INSERT OR REPLACE INTO meta VALUES ('compacted', ?)", (revision,))
            self._writer.execute(_FORGET, (self._compacted, revision))
            self._writer.execute("COMMIT")
        except apsw.FullError:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            return  # later: what is not forgotten only takes room
        self._compacted = revision

    # Reads

    async def get(self, key: str, revision: int = 0) -> Record | None:
        self._check(revision)
        if not revision:
            return self._live(self._points, key)
        with self._points as database:
            _check_kept(database, revision)
            touch = database.execute(
                "SELECT previous FROM changes WHERE revision > ? AND key = ? ORDER BY revision LIMIT 1", (revision, key)
            ).fetchone()
            if touch is None:
                return self._live(database, key)
            row = database.execute(_AT, (touch[0],)).fetchone()
        return None if row is None else self._record(row)

    def _live(self, database: apsw.Connection, key: str) -> Record | None:
        row = database.execute(_POINT, (key,)).fetchone()
        return None if row is None else self._record(row)

    def _record(self, row: tuple[Any, ...]) -> Record:
        key, value, revision, created, checksum = row[:5]
        if _checksum(key, value) != checksum:
            raise StoreError(f"{self.path}: the record {key} at revision {revision} is damaged; restore a copy")
        return Record(key, value, revision, created)

    async def list(self, prefix: str, *, revision: int = 0, after: str = "", limit: int = 0) -> Page:
        self._check(revision)
        return await asyncio.to_thread(self._list, prefix, revision, after, limit)

    def _list(self, prefix: str, revision: int, after: str, limit: int) -> Page:
        database = self._reader
        end = prefix + "\U0010ffff"
        begin = max(prefix, after)
        with self._reading, database:  # one read transaction: the page and its revision agree
            _check_kept(database, revision)
            newest = _newest(database)
            at = revision or newest
            keys = _KEYS_THEN if revision and revision < newest else _KEYS_NOW
            span = (begin, end, after, at)
            rows = database.execute(
                f"SELECT c.key, c.value, c.revision, c.created, c.checksum FROM ({keys}) k JOIN changes c ON c.revision = k.revision"
                " ORDER BY k.key",
                (*span, limit or -1),
            ).fetchall()
            remaining = 0
            if limit and len(rows) == limit:
                total = database.execute(f"SELECT COUNT(*) FROM ({keys})", (*span, -1)).fetchone()
                remaining = int(total[0] if total else 0) - len(rows)
        return Page([self._record(row) for row in rows], at, remaining)

    def _check(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevisionError(self._revision)
        if revision and revision < self._compacted:
            raise CompactedError(self._compacted)

    def watch(self, prefix: str, after: int) -> AsyncIterator[builtins.list[Change]]:
        return self._hub.watch(prefix, after)

    async def _read_changes(self, prefix: str, after: int, limit: int) -> builtins.list[Change]:
        return [change for change, _ in await self.history(prefix, after, limit)]

    async def history(self, prefix: str, after: int, limit: int) -> builtins.list[tuple[Change, Record | None]]:
        return await asyncio.to_thread(self._history, prefix, after, limit)

    def _history(self, prefix: str, after: int, limit: int) -> builtins.list[tuple[Change, Record | None]]:
        database = self._reader
        with self._reading, database:
            compacted = _counter(database, "compacted")
            if after < compacted:
                raise CompactedError(compacted)
            rows = database.execute(
                "SELECT c.key, c.value, c.revision, c.created, c.checksum, c.type, p.key, p.value, p.revision, p.created, p.checksum"
                " FROM changes c LEFT JOIN changes p ON p.revision = c.previous AND p.key = c.key"
                " WHERE c.revision > ? AND c.key >= ? AND c.key < ? ORDER BY c.revision LIMIT ?",
                (after, prefix, prefix + "\U0010ffff", limit),
            ).fetchall()
        return [(Change(TYPES[int(row[5] or 0)], self._record(row)), None if row[6] is None else self._record(row[6:])) for row in rows]
