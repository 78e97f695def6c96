"""The little of HTTP/1.1 that a client on an open byte stream needs: one request, one answer, the body as it comes (RFC 9112)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

CHUNK = 64 * 1024
_HEAD_LIMIT = 64 * 1024
_INFORMATIONAL = range(100, 200)
SWITCHING = 101
_BETWEEN_TWO = "keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade"
HOP_BY_HOP = frozenset({"connection", *_BETWEEN_TWO.split(" ")})
"""Of one connection, never of the message: not passed on."""


class BrokenAnswerError(Exception):
    """What came is no HTTP answer, or only a part of one."""


@dataclass(frozen=True)
class Head:
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    raw: bytes

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


def request_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a request's head")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


async def read_head(reader: asyncio.StreamReader) -> Head:
    """The head of the final answer (or of 101). Raises BrokenAnswerError."""
    while True:
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
            raise BrokenAnswerError(str(error)) from error
        head = _parsed(raw)
        if head.status not in _INFORMATIONAL or head.status == SWITCHING:
            return head


def _parsed(raw: bytes) -> Head:
    first, *lines = raw.decode("utf-8", "surrogateescape").rstrip("\r\n").split("\r\n")
    version, _, rest = first.partition(" ")
    code, _, reason = rest.partition(" ")
    if len(raw) > _HEAD_LIMIT or not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
        raise BrokenAnswerError(f"malformed HTTP response {first[:80]!r}")
    pairs = (line.partition(":") for line in lines)
    return Head(int(code), reason, tuple((name.strip(), value.strip()) for name, colon, value in pairs if colon), raw)


async def body(reader: asyncio.StreamReader, head: Head, method: str = "GET") -> AsyncIterator[bytes]:
    """Chunked, of a length, or until the end. Raises BrokenAnswerError when it breaks off."""
    if method == "HEAD" or head.status in (204, 304):
        return
    try:
        if head.get("transfer-encoding").lower() == "chunked":
            async for piece in _chunks(reader):
                yield piece
            return
        length = head.get("content-length")
        left = int(length) if length else None
        while left is None or left > 0:
            data = await reader.read(CHUNK if left is None else min(CHUNK, left))
            if not data:
                if left:
                    raise BrokenAnswerError("unexpected EOF")
                return
            left = None if left is None else left - len(data)
            yield data
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError) as error:
        raise BrokenAnswerError(str(error)) from error


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        line = await reader.readline()
        left = int(line.split(b";")[0].strip(), 16)
        if left == 0:
            while (await reader.readline()).strip():
                pass  # trailers
            return
        while left > 0:
            data = await reader.readexactly(min(left, CHUNK))
            left -= len(data)
            yield data
        if await reader.readexactly(2) != b"\r\n":
            raise BrokenAnswerError("malformed chunked encoding")
