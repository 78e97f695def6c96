"""The DNS message format (RFC 1035, EDNS0 of RFC 6891): questions in, answers out.

Only what an authoritative server needs, and fast: a query is decoded in one pass, an answer encoded with
name compression. Odd messages raise DnsError with the code to answer; anything else is relayed as bytes.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 16, 28, 33, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

_HEADER = struct.Struct("!6H")
_MAX_UDP = 1232


class DnsError(Exception):
    """A message that cannot be answered as asked; ``code`` says why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Query:
    """``name`` as asked (its spelling is echoed), without the last dot; ``udp_size`` is what the asker can take."""

    id: int
    name: str
    type: int
    klass: int
    recursion_desired: bool = True
    edns: bool = False
    udp_size: int = 512
    checking_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """``data``: an address, a name, text, (priority, weight, port, target) or SOA's two names and five numbers."""

    name: str
    type: int
    ttl: int
    data: str | tuple[int, int, int, str] | tuple[str, str, int, int, int, int, int]


def decode_query(message: bytes) -> Query:
    """The one question of a standard query. Raises DnsError."""
    if len(message) < 12:
        raise DnsError(FORMERR, "shorter than a header")
    id, flags, questions, answers, authorities, additional = _HEADER.unpack_from(message)
    if flags & 0x8000:
        raise DnsError(FORMERR, "not a query")
    if flags >> 11 & 15:
        raise DnsError(NOTIMP, "not a standard query")
    if questions != 1 or answers or authorities:
        raise DnsError(FORMERR, "not exactly one question")
    name, at = read_name(message, 12)
    if at + 4 > len(message):
        raise DnsError(FORMERR, "question cut short")
    type, klass = struct.unpack_from("!2H", message, at)
    at += 4
    edns, size = False, 512
    for _ in range(additional):
        owner, at = read_name(message, at)
        if at + 10 > len(message):
            raise DnsError(FORMERR, "record cut short")
        kind, udp_size, ttl, length = struct.unpack_from("!HHIH", message, at)
        at += 10 + length
        if at > len(message):
            raise DnsError(FORMERR, "record data cut short")
        if kind == OPT:
            if edns or owner:
                raise DnsError(FORMERR, "more than one OPT record" if edns else "OPT record with a name")
            if ttl >> 16 & 255:
                raise DnsError(BADVERS, "EDNS version not 0")
            edns, size = True, max(512, udp_size)
    return Query(id, name, type, klass, bool(flags & 0x100), edns, size, bool(flags & 0x10))


def read_name(message: bytes, at: int) -> tuple[str, int]:
    """A name and the place after it. Pointers must lead backwards, so every name ends. Raises DnsError."""
    labels: list[str] = []
    end, limit, total = -1, at, 0
    while True:
        if at >= len(message):
            raise DnsError(FORMERR, "name cut short")
        length = message[at]
        if length == 0:
            return ".".join(labels), at + 1 if end < 0 else end
        if length & 0xC0 == 0xC0:
            if at + 2 > len(message):
                raise DnsError(FORMERR, "pointer cut short")
            target = (length & 0x3F) << 8 | message[at + 1]
            if target >= limit:
                raise DnsError(FORMERR, "pointer not backwards")
            if end < 0:
                end = at + 2
            at = limit = target
            continue
        if length & 0xC0:
            raise DnsError(FORMERR, "unknown label type")
        label = message[at + 1 : at + 1 + length]
        total += length + 1
        if len(label) != length or total > 254:
            raise DnsError(FORMERR, "name cut short or too long")
        labels.append(_escape(label))
        at += 1 + length


def _escape(label: bytes) -> str:
    text = label.decode("latin-1")
    return text.replace("\\", "\\\\").replace(".", "\\.") if b"." in label or b"\\" in label else text


def _split(name: str) -> list[bytes]:
    if "\\" not in name:
        return [part.encode("latin-1", "replace") for part in name.split(".")] if name else []
    labels, current, escaped = [], bytearray(), False
    for character in name:
        if escaped or character not in "\\.":
            current += character.encode("latin-1", "replace")
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            labels.append(bytes(current))
            current = bytearray()
    return [*labels, bytes(current)]


class _Writer:
    def __init__(self) -> None:
        self.out = bytearray(12)
        self._places: dict[tuple[bytes, ...], int] = {}

    def name(self, name: str, *, compress: bool = True) -> None:
        labels = tuple(_split(name))
        for index in range(len(labels)):
            rest = labels[index:]
            place = self._places.get(rest)
            if place is not None and compress:
                self.out += struct.pack("!H", 0xC000 | place)
                return
            if len(self.out) < 0x4000:
                self._places.setdefault(rest, len(self.out))
            self.out.append(len(labels[index]))
            self.out += labels[index]
        self.out.append(0)

    def record(self, record: Record) -> None:
        self.name(record.name)
        self.out += struct.pack("!HHIH", record.type, IN, record.ttl, 0)
        start = len(self.out)
        self._data(record)
        struct.pack_into("!H", self.out, start - 2, len(self.out) - start)

    def _data(self, record: Record) -> None:
        data = record.data
        if isinstance(data, str):
            if record.type in (A, AAAA):
                self.out += ipaddress.ip_address(data).packed
            elif record.type == TXT:
                raw = data.encode()
                for at in range(0, max(1, len(raw)), 255):
                    piece = raw[at : at + 255]
                    self.out.append(len(piece))
                    self.out += piece
            else:
                self.name(data)
        elif len(data) == 4:
            self.out += struct.pack("!3H", data[0], data[1], data[2])
            self.name(data[3], compress=False)
        else:
            self.name(data[0])
            self.name(data[1])
            self.out += struct.pack("!5I", *data[2:])


def encode_answer(
    query: Query,
    code: int,
    answers: Sequence[Record] = (),
    authorities: Sequence[Record] = (),
    additional: Sequence[Record] = (),
    *,
    limit: int = 65535,
    authoritative: bool = True,
    recursion: bool = True,
) -> bytes:
    """The answer in at most ``limit`` bytes; what does not fit leaves with the TC bit (additional records without)."""
    writer = _Writer()
    writer.name(query.name)
    writer.out += struct.pack("!2H", query.type, query.klass)
    room = limit - (11 if query.edns else 0)
    counts = [0, 0, 0]
    truncated = False
    for section, records in enumerate((answers, authorities, additional)):
        for record in records:
            before = len(writer.out)
            writer.record(record)
            if len(writer.out) > room:
                del writer.out[before:]
                truncated = section < 2
                break
            counts[section] += 1
        if truncated or sum(counts) < sum(map(len, (answers, authorities, additional)[: section + 1])):
            break
    if query.edns:
        writer.out += b"\0" + struct.pack("!HHIH", OPT, _MAX_UDP, (code >> 4) << 24, 0)
        counts[2] += 1
    flags = 0x8000 | (0x400 if authoritative else 0) | (0x200 if truncated else 0)
    flags |= (0x100 if query.recursion_desired else 0) | (0x80 if recursion else 0) | (0x10 if query.checking_disabled else 0)
    _HEADER.pack_into(writer.out, 0, query.id, flags | code & 15, 1, *counts)
    return bytes(writer.out)


def encode_error(message: bytes, code: int) -> bytes | None:
    """A bare header that refuses a message that could not be decoded; None when it must not be answered."""
    if len(message) < 12 or message[2] & 0x80:
        return None
    flags = int.from_bytes(message[2:4], "big")
    out = bytearray(_HEADER.pack(int.from_bytes(message[:2], "big"), 0x8000 | flags & 0x7900 | code & 15, 0, 0, 0, int(code > 15)))
    if code > 15:
        out += b"\0" + struct.pack("!HHIH", OPT, _MAX_UDP, (code >> 4) << 24, 0)
    return bytes(out)


def udp_limit(query: Query) -> int:
    """How many bytes a datagram to this asker may have."""
    return min(query.udp_size, _MAX_UDP) if query.edns else 512
