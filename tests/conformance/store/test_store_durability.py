"""What SQLite promises beyond the suite: kill -9, restart, compaction, damage, a second process, a failing disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from holdfast.store import open_store
from holdfast.store.api import StoreFullError
from holdfast.store.sqlite import SqliteStore, StoreError
from holdfast.system.failures import words

WRITER = """
import asyncio, sys
from pathlib import Path
from holdfast.store.sqlite import SqliteStore
async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.start()
    for n in range(100000):
        revision = await store.create(f"/k/{n}", b"v")
        print(n, revision, flush=True)
asyncio.run(main())
"""


async def test_many_lists_of_the_past_at_once(tmp_path: Path) -> None:
    """Each is read in a thread of its own."""
    store = SqliteStore(tmp_path / "s.db")
    await store.start()
    for number in range(500):
        await store.create(f"/k/{number:03}", b"x" * 2000)
    then = store.revision
    await store.delete("/k/000", 1)
    pages = await asyncio.gather(
        *(store.list("/k/", revision=then) for _ in range(16)), *(store.history("/k/", 0, 900) for _ in range(4))
    )
    assert [len(page.records) for page in pages[:16]] == [500] * 16  # type: ignore[union-attr]
    assert [len(page) for page in pages[16:]] == [501] * 4  # type: ignore[arg-type]
    await store.close()


async def test_acknowledged_writes_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    writer = subprocess.Popen(  # noqa: ASYNC220  (the test itself is the only task)
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout
    acknowledged = [tuple(map(int, writer.stdout.readline().split())) for _ in range(50)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [tuple(map(int, line.split())) for line in writer.stdout.read().splitlines() if line.count(" ") == 1]
    writer.wait()
    store = SqliteStore(path)
    await store.start()
    for number, revision in acknowledged:
        record = await store.get(f"/k/{number}")
        assert record is not None
        assert record.revision == revision
    assert await store.create("/next", b"v") > acknowledged[-1][1]
    await store.close()


async def test_revision_never_returns_after_compaction_and_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await store.start()
    revision = await store.create("/a", b"1")
    gone = await store.delete("/a", revision)
    await store.compact(gone)
    await store.close()
    store = SqliteStore(tmp_path / "s.db")
    await store.start()
    assert await store.create("/a", b"2") == gone + 1
    assert store.compacted == gone
    await store.close()


async def test_a_second_process_is_refused_with_the_holder(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await store.start()
    for url in (f"sqlite:///{tmp_path / 's.db'}", f"sqlite://{tmp_path / 's.db'}"):
        with pytest.raises(StoreError) as caught:
            await open_store(url).start()
        assert words(caught.value).startswith(f"{tmp_path / 's.db'} is in use by another process (pid {os.getpid()}): ")
    await store.close()


async def test_a_damaged_record_is_never_served(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await store.start()
    await store.create("/a", b"value")
    await store.close()
    database = apsw.Connection(str(tmp_path / "s.db"))
    database.execute("UPDATE changes SET value = ?", (b"vAlue",))
    database.close()
    store = SqliteStore(tmp_path / "s.db")
    await store.start()
    with pytest.raises(StoreError, match="damaged"):
        await store.get("/a")
    await store.close()


class FullFile(apsw.VFSFile):
    def xWrite(self, data: bytes, offset: int) -> None:
        if FullDisk.full:
            raise apsw.FullError("no space left")
        super().xWrite(data, offset)


class FullDisk(apsw.VFS):
    full = False

    def __init__(self) -> None:
        super().__init__("full", "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> FullFile:
        return FullFile("", name, flags)


async def test_a_full_disk_refuses_writes_keeps_reads_and_goes_on(tmp_path: Path) -> None:
    disk = FullDisk()
    store = SqliteStore(tmp_path / "s.db", vfs="full")
    await store.start()
    kept = await store.create("/a", b"1")
    FullDisk.full = True
    try:
        many = [store.create("/b", b"1"), store.create("/b", b"2"), store.update("/a", b"2", kept), store.delete("/a", kept)]
        refused = await asyncio.gather(*many, return_exceptions=True)
        assert [type(error) for error in refused] == [StoreFullError] * 4
        assert await store.get("/b") is None
        record = await store.get("/a")
        assert record is not None
        assert (record.value, store.revision) == (b"1", kept)
    finally:
        FullDisk.full = False
    assert await store.create("/b", b"3") == kept + 1
    await store.close()
    again = SqliteStore(tmp_path / "s.db")
    await again.start()
    found = [await again.get(key) for key in ("/a", "/b")]
    assert [record.value for record in found if record] == [b"1", b"3"]
    await again.close()
    del disk


class FailingFile(apsw.VFSFile):
    def xSync(self, flags: int) -> None:
        if FailingDisk.broken:
            raise apsw.IOError("the disk is gone")
        super().xSync(flags)


class FailingDisk(apsw.VFS):
    broken = False

    def __init__(self) -> None:
        super().__init__("failing", "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> FailingFile:
        return FailingFile("", name, flags)


async def test_a_failed_sync_is_fatal_and_never_acknowledged(tmp_path: Path) -> None:
    disk = FailingDisk()
    fatal: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    store = SqliteStore(tmp_path / "s.db", on_fatal=lambda e: loop.call_soon_threadsafe(fatal.set_result, e), vfs="failing")
    await store.start()
    await store.create("/a", b"1")
    FailingDisk.broken = True
    try:
        writing = asyncio.ensure_future(store.create("/b", b"1"))
        error = await asyncio.wait_for(fatal, 10)
        assert isinstance(error, apsw.Error)
        assert not writing.done()
        writing.cancel()
    finally:
        FailingDisk.broken = False
    await store.close()
    del disk
