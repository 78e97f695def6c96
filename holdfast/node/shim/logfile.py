"""The instance's log in CRI form, rotated: ``<rfc3339nano> stdout F line``.

A line longer than 16 KiB is written in parts tagged P. A full file becomes ``.1`` and so on, five files in
all. A log that cannot be written (disk full) loses lines; the instance never stops for it.
"""

from __future__ import annotations

import os
import time

MAX_BYTES = 10 << 20
FILES = 5
PART = 16 << 10


class LogFile:
    def __init__(self, path: str) -> None:
        self.path = path
        self.rests = {"stdout": b"", "stderr": b""}
        self.second = 0
        self.prefix = ""
        self.fd = -1
        self.size = 0
        self._open()

    def _open(self) -> None:
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            self.size = os.fstat(self.fd).st_size
        except OSError:
            self.fd = -1

    def _stamp(self) -> str:
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        if seconds != self.second:
            self.second = seconds
            self.prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))
        return f"{self.prefix}{rest:09d}Z"

    def write(self, stream: str, data: bytes) -> None:
        """Bytes as they come: the rest of an unfinished line waits for its end."""
        lines = (self.rests[stream] + data).split(b"\n")
        rest = lines.pop()
        out = []
        full, part = f" {stream} F ".encode(), f" {stream} P ".encode()
        stamp = self._stamp().encode()
        for line in lines:
            while len(line) > PART:
                out.append(stamp + part + line[:PART] + b"\n")
                line = line[PART:]
            out.append(stamp + full + line + b"\n")
        while len(rest) > PART:
            out.append(stamp + part + rest[:PART] + b"\n")
            rest = rest[PART:]
        self.rests[stream] = rest
        self._put(b"".join(out))

    def _put(self, data: bytes) -> None:
        if not data:
            return
        if self.fd < 0:
            self._open()
        if self.fd < 0:
            return
        if self.size and self.size + len(data) > MAX_BYTES:
            self._rotate()
        try:
            self.size += os.write(self.fd, data)
        except OSError:
            pass

    def _rotate(self) -> None:
        os.close(self.fd)
        for number in range(FILES - 2, -1, -1):
            source = f"{self.path}.{number}" if number else self.path
            try:
                os.rename(source, f"{self.path}.{number + 1}")
            except OSError:
                pass
        self._open()

    @property
    def unfinished(self) -> bool:
        """Whether the start of a line waits for its end."""
        return any(self.rests.values())

    def flush(self) -> None:
        """Unfinished lines are written as parts: the reader adds no newline after those."""
        for stream, rest in self.rests.items():
            if rest:
                self._put(f"{self._stamp()} {stream} P ".encode() + rest + b"\n")
                self.rests[stream] = b""

    def close(self) -> None:
        self.flush()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
