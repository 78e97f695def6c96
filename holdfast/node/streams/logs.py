"""Reads an instance's log: rotated files first, then the current one, followed by the kernel's word that it changed.

Lines are CRI's: time, stream, tag (F: whole line; P: a part without its newline), content.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.lib.clock import parse_rfc3339
from holdfast.node.streams.notify import Watch

CHUNK = 256 << 10
OLD_FILES = 9
MAX_LINE = 1 << 20


@dataclass(frozen=True)
class LogOptions:
    follow: bool = False
    tail: int = -1
    """Last lines only; negative: all."""
    since: float = 0.0
    """Unix seconds; 0: from the beginning."""
    timestamps: bool = False
    limit: int = -1
    """Bytes; negative: no limit."""
    stream: str = ""
    """stdout or stderr; "" for both."""


@dataclass(frozen=True)
class Line:
    time: bytes
    stream: bytes
    whole: bool
    content: bytes


def parse(raw: bytes) -> Line | None:
    """None for a line that is not CRI's."""
    fields = raw.split(b" ", 3)
    if len(fields) < 3 or fields[1] not in (b"stdout", b"stderr"):
        return None
    return Line(fields[0], fields[1], not fields[2].startswith(b"P"), fields[3] if len(fields) == 4 else b"")


class Renderer:
    """Lines as kubectl gets them: without their prefix, or with the time at the start of each whole line."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit
        self._middle: set[bytes] = set()

    @property
    def full(self) -> bool:
        return self._left == 0

    def render(self, raw: bytes) -> bytes:
        line = parse(raw)
        if line is None or (self._options.stream and line.stream != self._options.stream.encode()):
            return b""
        if self._options.since and not self._recent(line.time):
            return b""
        text = line.content + (b"\n" if line.whole else b"")
        if self._options.timestamps and line.stream not in self._middle:
            text = line.time + b" " + text
        if line.whole:
            self._middle.discard(line.stream)
        else:
            self._middle.add(line.stream)
        if self._left >= 0:
            text = text[: self._left]
            self._left -= len(text)
        return text

    def _recent(self, stamp: bytes) -> bool:
        try:
            # The text has nanoseconds; microseconds are what a float of this size can tell.
            text = stamp.decode("ascii", "replace")
            return parse_rfc3339(text[:26].rstrip("Z") + "+00:00") >= self._options.since
        except ValueError:
            return True


def files(path: Path) -> list[Path]:
    """Oldest first."""
    old = [path.with_name(f"{path.name}.{number}") for number in range(OLD_FILES, 0, -1)]
    return [file for file in (*old, path) if file.exists()]


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None


def _lines(fd: int, rest: bytearray) -> Iterator[bytes]:
    """Whole lines up to the present end of the file; what is unfinished stays in ``rest``."""
    while data := os.read(fd, CHUNK):
        rest += data
        if b"\n" in data:
            whole, _, tail = bytes(rest).rpartition(b"\n")
            rest[:] = tail
            yield from whole.split(b"\n")
        elif len(rest) > MAX_LINE:
            rest.clear()


def _tail(fds: list[int], count: int) -> list[bytes]:
    """The last lines over all files; a line in parts counts as one."""
    kept: deque[bytes] = deque()
    whole = 0
    for fd in fds:
        for raw in _lines(fd, bytearray()):
            kept.append(raw)
            if (line := parse(raw)) is None or line.whole:
                whole += 1
            # An unfinished last line counts as well.
            while whole + _unfinished(raw) > count:
                if not _unfinished(kept.popleft()):
                    whole -= 1
    return list(kept)


def _unfinished(raw: bytes) -> bool:
    line = parse(raw)
    return line is not None and not line.whole


async def read(path: Path, options: LogOptions, ended: asyncio.Event) -> AsyncIterator[bytes]:
    """Pieces of text. With ``follow`` it goes on until ``ended`` is set and all is read."""
    renderer = Renderer(options)
    watch = Watch(path.parent) if options.follow else None
    current: int | None = None
    try:
        # Whether the instance had ended is asked before reading: what it wrote before is then all there.
        over = ended.is_set()
        fds = [fd for file in files(path) if (fd := _open(file)) is not None]
        current = fds[-1] if fds else None
        rest = bytearray()
        if options.tail >= 0:
            pieces: Iterator[bytes] = iter(await asyncio.to_thread(_tail, fds, options.tail) if options.tail else [])
            if not options.tail and current is not None:
                os.lseek(current, 0, os.SEEK_END)
        else:
            pieces = (raw for fd in fds for raw in _lines(fd, rest))
        async for text in _batches(pieces, renderer):
            yield text
        for fd in fds[:-1]:
            os.close(fd)
        while watch is not None and not over and not renderer.full:
            over = await watch.wait(ended)
            if current is None:
                current = _open(path)
            if current is None:
                continue
            async for text in _batches(_lines(current, rest), renderer):
                yield text
            while (newer := _rotated(path, current)) is not None:
                # The old file is complete once the new one is there.
                async for text in _batches(_lines(current, rest), renderer):
                    yield text
                os.close(current)
                current, rest = newer, bytearray()
                async for text in _batches(_lines(current, rest), renderer):
                    yield text
    finally:
        if current is not None:
            os.close(current)
        if watch is not None:
            watch.close()


def _rotated(path: Path, fd: int) -> int | None:
    """The descriptor of the log's new file, when there is one."""
    newer = _open(path)
    if newer is None:
        return None
    if os.fstat(newer).st_ino == os.fstat(fd).st_ino:
        os.close(newer)
        return None
    return newer


async def _batches(lines: Iterator[bytes], renderer: Renderer) -> AsyncIterator[bytes]:
    batch = bytearray()
    for raw in lines:
        batch += renderer.render(raw)
        if renderer.full:
            break
        if len(batch) > CHUNK:
            yield bytes(batch)
            batch.clear()
            await asyncio.sleep(0)  # a long log must not hold the loop
    if batch:
        yield bytes(batch)
