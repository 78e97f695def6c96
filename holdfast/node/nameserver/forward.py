"""Names that are not ours: the question goes to the host's resolvers as it came, the answer back as it came."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

TIMEOUT_SECONDS = 2.0


class ForwardError(Exception):
    """No resolver answered."""


class _Waiter(asyncio.DatagramProtocol):
    """Takes the first datagram that answers this question: same id, same question bytes."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.answer.done() and len(data) >= 12 and data[:2] == self._message[:2] and data[2] & 0x80:
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


class Forwarder:
    """``resolvers`` are read from resolv.conf again whenever the file has changed; our own addresses are left out."""

    def __init__(self, own: tuple[str, ...] = (), path: Path = Path("/etc/resolv.conf"), port: int = 53) -> None:
        self._own = set(own)
        self._path = path
        self._port = port
        self._read_at: float | None = None
        self._resolvers: list[str] = []
        self._checked = 0.0

    def resolvers(self) -> list[str]:
        now = time.monotonic()
        if now - self._checked > 1.0 or self._read_at is None:
            self._checked = now
            try:
                modified = self._path.stat().st_mtime
                if modified != self._read_at:
                    self._resolvers = self._parse(self._path.read_text())
                    self._read_at = modified
            except OSError:
                self._resolvers = []
        return self._resolvers

    def _parse(self, text: str) -> list[str]:
        found = []
        for line in text.splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] == "nameserver" and words[1] not in self._own:
                found.append(words[1])
        return found[:3]

    async def ask(self, message: bytes, *, tcp: bool = False) -> bytes:
        """Raises ForwardError."""
        id = message[:2]
        for resolver in self.resolvers():
            changed = secrets.token_bytes(2) + message[2:]
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    answer = await (self._ask_tcp if tcp else self._ask_udp)(changed, resolver)
                return id + answer[2:]
            except (OSError, TimeoutError, EOFError):
                continue
        raise ForwardError("no resolver of this host answered")

    async def _ask_udp(self, message: bytes, resolver: str) -> bytes:
        loop = asyncio.get_running_loop()
        transport, waiter = await loop.create_datagram_endpoint(lambda: _Waiter(message), remote_addr=(resolver, self._port))
        try:
            transport.sendto(message)
            return await waiter.answer
        finally:
            transport.close()

    async def _ask_tcp(self, message: bytes, resolver: str) -> bytes:
        reader, writer = await asyncio.open_connection(resolver, self._port)
        try:
            writer.write(len(message).to_bytes(2, "big") + message)
            length = int.from_bytes(await reader.readexactly(2), "big")
            answer = await reader.readexactly(length)
            if answer[:2] != message[:2]:
                raise OSError("answer to another question")
            return answer
        finally:
            writer.close()
