"""The wire between the node and a shim: frames of a type byte, a length and a payload.

Small enough to be parsed by hand in the shim's poll loop; the node's side is ``runtimes.oci.follow``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

STDIN, STDOUT, STDERR, RESIZE, CLOSE_STDIN, EXIT, REQUEST, STATE = range(8)
HEAD = struct.Struct(">BI")
MAX_FRAME = 1 << 20


def pack(kind: int, payload: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(payload)) + payload


class Broken(Exception):
    """The peer does not speak this protocol."""


def take(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Whole frames out of the buffer, which keeps the rest."""
    while len(buffer) >= HEAD.size:
        kind, size = HEAD.unpack_from(buffer)
        if size > MAX_FRAME:
            raise Broken(f"a frame of {size} bytes")
        if len(buffer) < HEAD.size + size:
            return
        payload = bytes(buffer[HEAD.size : HEAD.size + size])
        del buffer[: HEAD.size + size]
        yield kind, payload
