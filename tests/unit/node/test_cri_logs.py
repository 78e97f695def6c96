"""What the shim writes is what the reader shows: lines, parts, rotation, tail, since, follow."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.lib.clock import parse_rfc3339
from holdfast.node.shim import logfile
from holdfast.node.shim.logfile import LogFile
from holdfast.node.streams.logs import LogOptions, read


async def show(path: Path, **options: object) -> bytes:
    ended = asyncio.Event()
    ended.set()
    return b"".join([text async for text in read(path, LogOptions(**options), ended)])  # type: ignore[arg-type]


def write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"2026-01-02T03:04:{number:02d}.000000001Z {line}\n" for number, line in enumerate(lines)))


@given(st.lists(st.binary(max_size=40_000), max_size=6))
def test_bytes_come_back(tmp_path_factory: object, pieces: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("log") / "0.log"  # type: ignore[attr-defined]
    log = LogFile(str(path))
    for piece in pieces:
        log.write("stdout", piece)
    log.close()
    assert asyncio.run(show(path)) == b"".join(pieces)
    assert all(len(line) < logfile.PART + 100 for line in path.read_bytes().split(b"\n"))


async def test_rotation_keeps_five_files_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "MAX_BYTES", 1000)
    log = LogFile(str(tmp_path / "0.log"))
    for number in range(200):
        log.write("stdout", f"line {number}\n".encode())
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["0.log", "0.log.1", "0.log.2", "0.log.3", "0.log.4"]
    shown = (await show(tmp_path / "0.log")).decode().splitlines()
    assert shown == [f"line {number}" for number in range(200 - len(shown), 200)]
    assert await show(tmp_path / "0.log", tail=30) == "".join(f"line {n}\n" for n in range(170, 200)).encode()


async def test_tail_counts_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "l"
    write(path, "stdout F one", "stdout P tw", "stdout F o", "stderr F three", "stdout P end")
    assert await show(path, tail=1) == b"end"
    assert await show(path, tail=2) == b"three\nend"
    assert await show(path, tail=3) == b"two\nthree\nend"
    assert await show(path, tail=0) == b""
    assert await show(path, tail=99) == b"one\ntwo\nthree\nend"


async def test_options(tmp_path: Path) -> None:
    path = tmp_path / "l"
    write(path, "stdout F one", "stdout P tw", "stdout F o", "stderr F three")
    assert await show(path, timestamps=True, tail=2) == b"2026-01-02T03:04:01.000000001Z two\n2026-01-02T03:04:03.000000001Z three\n"
    assert await show(path, since=parse_rfc3339("2026-01-02T03:04:03Z")) == b"three\n"
    assert await show(path, stream="stderr") == b"three\n"
    assert await show(path, limit=6) == b"one\ntw"
    assert await show(tmp_path / "absent") == b""


async def test_follow_over_a_rotation_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "MAX_BYTES", 500)
    path = tmp_path / "0.log"
    log = LogFile(str(path))
    log.write("stdout", b"first\n")
    ended = asyncio.Event()
    got = bytearray()
    begun = asyncio.Event()

    async def follow() -> None:
        async for text in read(path, LogOptions(follow=True), ended):
            got.extend(text)
            begun.set()

    async with asyncio.timeout(10):
        task = asyncio.create_task(follow())
        await begun.wait()
        expected = b"first\n"
        for number in range(40):
            piece = f"line {number}\n".encode()
            expected += piece
            log.write("stdout", piece)
            if number % 7 == 0:
                await asyncio.sleep(0.01)
        log.write("stdout", b"last")
        log.close()
        ended.set()
        await task
    assert bytes(got) == expected + b"last"


async def test_follow_waits_for_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    ended = asyncio.Event()
    reader = read(tmp_path / "0.log", LogOptions(follow=True), ended)
    first = asyncio.ensure_future(anext(reader))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    LogFile(str(tmp_path / "0.log")).write("stdout", b"here\n")
    async with asyncio.timeout(5):
        assert await first == b"here\n"
    await reader.aclose()  # type: ignore[attr-defined]
