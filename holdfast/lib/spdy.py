"""SPDY/3.1: the framing that older kubectl exec, attach and port-forward speak, and newer ones tunnel.

No I/O here: a Session is fed bytes and gives bytes to a ``write`` function. Either side may open streams.
Window updates are sent for what is consumed; the windows of a peer are obeyed once it has shown that it keeps
them (a WINDOW_UPDATE or SETTINGS frame), because Kubernetes' own library does not.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 1
VERSION = 0x8003
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5
INITIAL_WINDOW = 64 << 10
MAX_FRAME = 1 << 20
MAX_HEADERS = 64 << 10
MAX_STREAMS = 1024
DATA_CHUNK = 32 << 10
HIGH_WATER, LOW_WATER = 1 << 20, 256 << 10
_SETTING_INITIAL_WINDOW = 7

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length content-location "
    "content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match "
    "if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range "
    "referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get "
    "status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found"
    "500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,"
    "text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _length_prefixed(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data


DICTIONARY = b"".join(_length_prefixed(word.replace("_", " ")) for word in _WORDS.split()) + _TAIL.encode()
"""The preset zlib dictionary of header blocks, laid down in the protocol."""


class SpdyError(Exception):
    """The peer broke the protocol; the connection cannot go on."""


class StreamReset(ConnectionError):
    """The peer reset the stream or the connection is gone."""


class Headers:
    """One connection's header compression: two zlib streams that live as long as it does."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def encode(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            plain += _length_prefixed(name.lower()) + _length_prefixed(value)
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def decode(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, MAX_HEADERS)
        except zlib.error as error:
            raise SpdyError(f"damaged header block: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("headers too large")
        try:
            (count,) = struct.unpack_from(">I", plain)
            offset, texts = 4, []
            for _ in range(2 * count):
                (size,) = struct.unpack_from(">I", plain, offset)
                offset += 4 + size
                if offset > len(plain):
                    raise SpdyError("header block cut short")
                texts.append(plain[offset - size : offset].decode("utf-8", "replace"))
        except struct.error as error:
            raise SpdyError("header block cut short") from error
        return dict(zip(texts[::2], texts[1::2], strict=True))


class Stream:
    """One stream, as its user sees it."""

    def __init__(self, session: Session, id: int, headers: Mapping[str, str]) -> None:
        self.id = id
        self.headers = dict(headers)
        self._session = session
        self._received: list[bytes] = []
        self._changed = asyncio.Event()
        self._ended = False
        self._reset = False
        self._finished = False
        self._window = session.peer_window

    async def read(self) -> bytes:
        """The next bytes; b"" when the peer has closed its side. Raises StreamReset."""
        while not self._received:
            if self._reset:
                raise StreamReset(f"stream {self.id} was reset")
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._received)
        self._received.clear()
        self._session.consumed(self, len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Raises StreamReset when nobody reads any more."""
        view = memoryview(data)
        while view:
            if self._reset or self._finished:
                raise StreamReset(f"stream {self.id} is closed")
            size = min(len(view), DATA_CHUNK)
            if self._session.windows:
                size = min(size, self._window)
                if size <= 0:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
            self._window -= size
            self._session.send_data(self.id, bytes(view[:size]))
            view = view[size:]
            await self._session.drain()

    def close(self) -> None:
        """No more is written; the other direction stays open."""
        if not self._finished and not self._reset:
            self._finished = True
            self._session.send_data(self.id, b"", FIN)
            self._session.forget(self)

    def reset(self, status: int = CANCEL) -> None:
        if not self._reset:
            self._session.send_control(RST_STREAM, struct.pack(">II", self.id, status))
            self.on_reset()
            self._session.consumed(self, sum(map(len, self._received)))
            self._received.clear()
            self._session.forget(self)

    @property
    def over(self) -> bool:
        return self._reset or (self._ended and self._finished)

    # --- called by the session

    def on_data(self, data: bytes, fin: bool) -> None:
        if data:
            self._received.append(data)
        self._ended = self._ended or fin
        self._changed.set()

    def on_reset(self) -> None:
        self._reset = True
        self._changed.set()

    def on_window(self, delta: int) -> None:
        self._window += delta
        self._changed.set()

    @property
    def half_closed(self) -> bool:
        return self._ended


class Session:
    """``write`` takes bytes for the peer, ``drain`` waits while there are too many; ``pause`` is told to hold the input."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        drain: Callable[[], Awaitable[None]],
        *,
        client: bool = False,
        pause: Callable[[bool], None] | None = None,
    ) -> None:
        self._write = write
        self.drain = drain
        self._pause = pause
        self._paused = False
        self._buffer = bytearray()
        self._headers = Headers()
        self._next = 1 if client else 2
        self._peer_last = 0
        self._parity = 0 if client else 1
        self._accepted: asyncio.Queue[Stream | None] = asyncio.Queue()
        self.streams: dict[int, Stream] = {}
        self._unread = 0
        self.peer_window = INITIAL_WINDOW
        self.windows = False
        self.lost = False

    # --- use

    async def accept(self) -> Stream | None:
        """The next stream the peer opens; None when the connection is gone."""
        if self.lost and self._accepted.empty():
            return None
        return await self._accepted.get()

    def open(self, headers: Mapping[str, str]) -> Stream:
        stream = Stream(self, self._next, headers)
        self._next += 2
        self.streams[stream.id] = stream
        self.send_control(SYN_STREAM, struct.pack(">IIBB", stream.id, 0, 0, 0) + self._headers.encode(headers))
        return stream

    def close(self) -> None:
        """Says goodbye; the caller closes the connection."""
        if not self.lost:
            self.send_control(GOAWAY, struct.pack(">II", self._peer_last, 0))
        self.connection_lost()

    def connection_lost(self) -> None:
        if self.lost:
            return
        self.lost = True
        for stream in list(self.streams.values()):
            if not stream.half_closed:
                stream.on_reset()
        self.streams.clear()
        self._accepted.put_nowait(None)

    # --- sending

    def send_data(self, id: int, data: bytes, flags: int = 0) -> None:
        if not self.lost:
            self._write(struct.pack(">II", id, flags << 24 | len(data)) + data)

    def send_control(self, kind: int, payload: bytes, flags: int = 0) -> None:
        if not self.lost:
            self._write(struct.pack(">HHI", VERSION, kind, flags << 24 | len(payload)) + payload)

    def consumed(self, stream: Stream, size: int) -> None:
        self._unread -= size
        if size and not stream.half_closed and not stream.over:
            self.send_control(WINDOW_UPDATE, struct.pack(">II", stream.id, size))
        if self._paused and self._unread < LOW_WATER and self._pause is not None:
            self._paused = False
            self._pause(False)

    def forget(self, stream: Stream) -> None:
        if stream.over:
            self.streams.pop(stream.id, None)

    # --- receiving

    def feed(self, data: bytes) -> None:
        """Bytes from the peer. Raises SpdyError; the caller then closes the connection."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            flags, size = second >> 24, second & 0xFFFFFF
            if size > MAX_FRAME:
                raise SpdyError(f"a frame of {size} bytes")
            if len(self._buffer) < 8 + size:
                return
            payload = bytes(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
            if first >> 31:
                if first >> 16 != VERSION:
                    raise SpdyError(f"SPDY version {first >> 16 & 0x7FFF} is not spoken here")
                try:
                    self._control(first & 0xFFFF, flags, payload)
                except struct.error as error:
                    raise SpdyError("a control frame cut short") from error
            else:
                self._data(first, flags, payload)

    def _data(self, id: int, flags: int, payload: bytes) -> None:
        stream = self.streams.get(id)
        if stream is None or stream.half_closed:
            if payload:
                self.send_control(RST_STREAM, struct.pack(">II", id, INVALID_STREAM))
            return
        self._unread += len(payload)
        stream.on_data(payload, bool(flags & FIN))
        self.forget(stream)
        if self._unread > HIGH_WATER and not self._paused and self._pause is not None:
            self._paused = True
            self._pause(True)

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == SYN_STREAM:
            self._syn_stream(flags, payload)
        elif kind in (SYN_REPLY, HEADERS):
            (id,) = struct.unpack_from(">I", payload)
            headers = self._headers.decode(payload[4:])
            if (stream := self.streams.get(id)) is not None:
                stream.headers.update({} if kind == SYN_REPLY else headers)
                if flags & FIN:
                    stream.on_data(b"", True)
                    self.forget(stream)
        elif kind == RST_STREAM:
            id, _ = struct.unpack(">II", payload)
            if (stream := self.streams.pop(id, None)) is not None:
                stream.on_reset()
        elif kind == PING:
            (id,) = struct.unpack(">I", payload)
            if id % 2 != self._next % 2:
                self.send_control(PING, payload)
        elif kind == WINDOW_UPDATE:
            id, delta = struct.unpack(">II", payload)
            self._keeps_windows()
            if (stream := self.streams.get(id & 0x7FFFFFFF)) is not None:
                stream.on_window(delta & 0x7FFFFFFF)
        elif kind == SETTINGS:
            self._settings(payload)
        elif kind == GOAWAY:
            self._accepted.put_nowait(None)

    def _syn_stream(self, flags: int, payload: bytes) -> None:
        (id,) = struct.unpack_from(">I", payload)
        headers = self._headers.decode(payload[10:])
        if id % 2 != self._parity or id <= self._peer_last:
            raise SpdyError(f"stream {id} cannot be opened")
        self._peer_last = id
        if max(len(self.streams), self._accepted.qsize()) >= MAX_STREAMS:  # reset at once, they wait to be accepted all the same
            self.send_control(RST_STREAM, struct.pack(">II", id, REFUSED_STREAM))
            return
        stream = Stream(self, id, headers)
        self.streams[id] = stream
        self.send_control(SYN_REPLY, struct.pack(">I", id) + self._headers.encode({}))
        if flags & FIN:
            stream.on_data(b"", True)
        self._accepted.put_nowait(stream)

    def _settings(self, payload: bytes) -> None:
        entries = struct.unpack(f">{(len(payload) - 4) // 4}I", payload[4:])
        for key, value in zip(entries[::2], entries[1::2], strict=False):
            if key & 0xFFFFFF == _SETTING_INITIAL_WINDOW:
                self._keeps_windows()
                delta = value - self.peer_window
                self.peer_window = value
                for stream in self.streams.values():
                    stream.on_window(delta)

    def _keeps_windows(self) -> None:
        """What was sent before counts too: the stream's window may be far below zero until the peer caught up."""
        self.windows = True
