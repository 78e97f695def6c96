"""SQLite on a disk that crashes.

A write goes to the real file, which stands for the page cache, and is remembered until the file is
synced. Losing the power keeps what was synced and, of each later write, any of its sectors; a killed
process loses nothing it had written. Either way the dead incarnation's next access fails, and the store
starts again on a copy. ``SimulatedStore`` is the store itself with its writer thread run by the loop.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from holdfast.lab.loop import SeededLoop
from holdfast.store.api import Change
from holdfast.store.sqlite import SqliteStore

SECTOR = 512
_numbers = itertools.count()


class PowerLossError(apsw.IOError):
    """The disk is gone."""


@dataclass
class _Content:
    """``synced`` survives anything; ``pending`` are (offset, bytes) or (size, None) for a truncation, in order."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.pending:
            _put(self.synced, offset, data)
        self.pending.clear()

    def after_power_loss(self, chance: random.Random) -> bytes:
        """What a disk may hold: of writes that were never synced some sectors arrived, in any combination."""
        found = bytearray(self.synced)
        whole = chance.random()
        for offset, data in self.pending:
            if data is None:
                if chance.random() < whole:
                    _put(found, offset, None)
                continue
            for begin in range(0, len(data), SECTOR):
                if chance.random() < whole:
                    _put(found, offset + begin, data[begin : begin + SECTOR])
        return bytes(found)


def _put(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class Disk(apsw.VFS):
    """One incarnation's disk. ``crash_after`` counts writes and syncs; at zero the power fails, and ``on_crash`` is told."""

    def __init__(self, directory: Path, chance: random.Random, on_crash: Callable[[], None]) -> None:
        self.vfs = f"holdfast-lab-{next(_numbers)}"
        super().__init__(self.vfs, "")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.chance = chance
        self.on_crash = on_crash
        self.crash_after = 0
        self.dead = False
        self.files: dict[str, _Content] = {}
        for path in directory.iterdir():
            self.files[path.name] = _Content(bytearray(path.read_bytes()))

    @property
    def path(self) -> Path:
        return self.directory / "store.db"

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:
        return _File(self, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:
        self.touch()
        super().xDelete(name, sync_directory)
        self.files.pop(Path(name).name, None)

    def excepthook(self, *_error: Any, **_named: Any) -> bool:
        """Power losses are no news."""
        return True

    def touch(self, *, counts: bool = False) -> None:
        if counts and self.crash_after and not self.dead:
            self.crash_after -= 1
            if not self.crash_after:
                self.dead = True
                self.on_crash()
        if self.dead:
            raise PowerLossError("the power is gone")

    def after(self, directory: Path, on_crash: Callable[[], None], *, power_lost: bool) -> Disk:
        """The next incarnation's disk, on a copy of what is left."""
        self.dead = True
        directory.mkdir(parents=True)
        for name, content in self.files.items():
            kept = content.after_power_loss(self.chance) if power_lost else (self.directory / name).read_bytes()
            (directory / name).write_bytes(kept)
        return Disk(directory, self.chance, on_crash)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        disk.touch()
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._content = disk.files.setdefault(Path(path).name, _Content())
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.touch(counts=True)
        self._content.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._disk.touch()
        self._content.pending.append((size, None))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self._disk.touch(counts=True)
        self._content.sync()

    def xRead(self, amount: int, offset: int) -> bytes:
        self._disk.touch()
        found: bytes = super().xRead(amount, offset)
        return found

    def excepthook(self, *_error: Any, **_named: Any) -> bool:
        """Power losses are no news."""
        return True


class SimulatedStore(SqliteStore):
    """Batches come about as in production: what is queued when the writer's turn comes is committed together."""

    def __init__(self, disk: Disk, loop: SeededLoop, on_fatal: Callable[[BaseException], None], *, lag: float = 0.0) -> None:
        super().__init__(disk.path, on_fatal=on_fatal, vfs=disk.vfs)
        self.disk = disk
        self._virtual = loop
        self._due = False
        self._lag = lag

    async def watch(self, prefix: str, after: int) -> AsyncIterator[list[Change]]:
        """What is committed becomes known a little later."""
        async for batch in super().watch(prefix, after):
            if self._lag:
                await asyncio.sleep(self._virtual.delay(self._lag))
            yield batch

    def _start_writer(self) -> None:
        return

    async def _stop_writer(self) -> None:
        return

    async def close(self) -> None:
        """A dead disk takes no last checkpoint: then its connections are merely let go."""
        try:
            await super().close()
        except apsw.Error:
            for connection in ("_points", "_reader", "_writer"):
                if hasattr(self, connection):
                    getattr(self, connection).close(True)

    def _enqueue(self, item: Any) -> None:
        super()._enqueue(item)
        if not self._due:
            self._due = True
            self._virtual.call_later(self._virtual.delay(), self._take_turn)

    def _take_turn(self) -> None:
        self._due = False
        if self._working and not self.disk.dead:
            self._turn()
