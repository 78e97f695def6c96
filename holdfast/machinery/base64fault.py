"""Whether a text is base64 as Go's decoder takes it: line breaks do not count, and the fault is told by its place."""

from __future__ import annotations

import base64
import binascii
import string

_ALPHABET = frozenset((string.ascii_letters + string.digits + "+/").encode())
_BREAKS = frozenset(b"\r\n")


def canonical(text: str) -> str:
    """The text without line breaks. Raises ValueError in Go's words for what is no base64."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
        return text
    except ValueError:
        place = _fault(text.encode())
        if place is not None:
            raise ValueError(f"illegal base64 data at input byte {place}") from None
        return base64.b64encode(base64.b64decode(text)).decode()


def _fault(raw: bytes) -> int | None:
    """The byte that Go names; None when there is nothing wrong."""
    read = 0
    for place, byte in enumerate(raw):
        if byte in _ALPHABET:
            read += 1
        elif byte == ord("="):
            return _padding(raw, place, read % 4)
        elif byte not in _BREAKS:
            return place
    return len(raw) - read % 4 if read % 4 else None


def _padding(raw: bytes, place: int, read: int) -> int | None:
    if read < 2:
        return place
    rest = _skip(raw, place + 1)
    if read == 2:
        if rest == len(raw):
            return rest
        if raw[rest] != ord("="):
            return rest - 1
        rest = _skip(raw, rest + 1)
    return None if rest == len(raw) else rest


def _skip(raw: bytes, place: int) -> int:
    while place < len(raw) and raw[place] in _BREAKS:
        place += 1
    return place
