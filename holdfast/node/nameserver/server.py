"""UDP and TCP service of the zone, on the cluster's DNS address and on a loopback port of the host.

Answers of the zone are made in the datagram callback itself; questions for elsewhere become tasks of the
server's own group, limited in number. Until the informers have synced every answer is SERVFAIL: that a
name is missing from an empty cache proves nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from holdfast.lib import dnswire
from holdfast.lib.dnswire import DnsError, Query, Record
from holdfast.node.nameserver.forward import Forwarder, ForwardError
from holdfast.node.nameserver.zone import TTL, Answer, Zone

log = logging.getLogger("holdfast.node.nameserver")

MAX_FORWARDED = 256
IDLE_SECONDS = 10.0

Listen = Callable[[str, int], Awaitable[socket.socket]]


class Nameserver:
    """``listen_udp`` and ``listen_tcp`` make sockets in the node's namespace; ``port_file`` keeps the host's port."""

    def __init__(
        self,
        zone: Zone,
        address: str,
        listen_udp: Listen,
        listen_tcp: Listen,
        port_file: Path,
        forwarder: Forwarder | None = None,
    ) -> None:
        self._zone = zone
        self._address = address
        self._listen = (listen_udp, listen_tcp)
        self._port_file = port_file
        self._forwarder = forwarder or Forwarder((address,))
        self._group: asyncio.TaskGroup | None = None
        self._forwarded = 0
        self._asked = 0
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self.synced = False
        self.host_port = 0

    def statistics(self) -> dict[str, int]:
        return {"asked": self._asked, "forwarding": self._forwarded, "host_port": self.host_port}

    async def run(self, started: asyncio.Event | None = None) -> None:
        """Serves until cancelled; ``started`` is set once all sockets are open."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._open()
                if started is not None:
                    started.set()
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            for transport in self._transports:
                transport.close()
            for server in self._servers:
                server.close()
            self._transports, self._servers = [], []

    async def _open(self) -> None:
        udp, tcp = self._listen
        await self._serve(await udp(self._address, 53), await tcp(self._address, 53))
        datagram, stream = self._host_sockets()
        self.host_port = datagram.getsockname()[1]
        await self._serve(datagram, stream)
        self._port_file.parent.mkdir(parents=True, exist_ok=True)
        self._port_file.write_text(f"{self.host_port}\n")

    async def _serve(self, datagram: socket.socket, stream: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagram)
        self._transports.append(transport)
        self._servers.append(await asyncio.start_server(self._connection, sock=stream))

    def _host_sockets(self) -> tuple[socket.socket, socket.socket]:
        """The same port for UDP and TCP: the kept one when it is free, else any."""
        try:
            kept = int(self._port_file.read_text())
        except (OSError, ValueError):
            kept = 0
        for port in (kept, *([0] * 20)):
            stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", stream.getsockname()[1]))
                stream.listen(64)
                return datagram, stream
            except OSError:
                stream.close()
                datagram.close()
        raise OSError("no port of 127.0.0.1 is free for the nameserver")

    def datagram(self, message: bytes, reply: Callable[[bytes], None]) -> None:
        """One UDP question; ``reply`` may be called later."""
        answer = self.answer_now(message, tcp=False)
        if isinstance(answer, bytes):
            reply(answer)
        elif answer is not None and self._group is not None:
            self._group.create_task(self._reply_later(answer, reply))

    async def _reply_later(self, later: Awaitable[bytes], reply: Callable[[bytes], None]) -> None:
        reply(await later)

    def answer_now(self, message: bytes, *, tcp: bool) -> bytes | Awaitable[bytes] | None:
        """The answer, or what has to be awaited for it, or None when there is nothing to say."""
        self._asked += 1
        try:
            query = dnswire.decode_query(message)
        except DnsError as error:
            return dnswire.encode_error(message, error.code)
        limit = 65535 if tcp else dnswire.udp_limit(query)
        if query.klass != dnswire.IN:
            return dnswire.encode_answer(query, dnswire.REFUSED, limit=limit)
        answer = self._zone.lookup(query.name, query.type)
        if answer is not None and not self.synced:
            return dnswire.encode_answer(query, dnswire.SERVFAIL, limit=limit)
        if answer is not None and not answer.alias:
            return self._encode(query, answer, limit)
        if self._forwarded >= MAX_FORWARDED:
            return dnswire.encode_answer(query, dnswire.SERVFAIL, limit=limit, authoritative=False)
        if answer is not None:
            return self._resolve_alias(query, answer, limit)
        return self._forward(query, message, tcp, limit)

    def _encode(self, query: Query, answer: Answer, limit: int) -> bytes:
        authorities = [] if answer.answers else [self._zone.soa()]
        return dnswire.encode_answer(query, answer.code, answer.answers, authorities, answer.additional, limit=limit)

    async def _forward(self, query: Query, message: bytes, tcp: bool, limit: int) -> bytes:
        self._forwarded += 1
        try:
            return await self._forwarder.ask(message, tcp=tcp)
        except ForwardError:
            return dnswire.encode_answer(query, dnswire.SERVFAIL, limit=limit, authoritative=False)
        finally:
            self._forwarded -= 1

    async def _resolve_alias(self, query: Query, answer: Answer, limit: int) -> bytes:
        """An ExternalName: stub resolvers expect the addresses behind the alias in the same answer."""
        import dns.message
        import dns.rdatatype

        self._forwarded += 1
        try:
            question = dns.message.make_query(answer.alias, dns.rdatatype.RdataType(query.type))
            reply = dns.message.from_wire(await self._forwarder.ask(question.to_wire()))
            kinds = {dnswire.A, dnswire.AAAA, dnswire.CNAME}
            for group in reply.answer:
                if int(group.rdtype) in kinds:
                    name = group.name.to_text(omit_final_dot=True)
                    texts = [item.to_text().rstrip(".") for item in group]
                    answer.answers += [Record(name, int(group.rdtype), min(TTL, group.ttl), text) for text in texts]
        except Exception as error:  # whatever a resolver sends: the alias itself is still a good answer
            log.debug("resolving %s: %s", answer.alias, error)
        finally:
            self._forwarded -= 1
        return self._encode(query, answer, limit)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    message = await reader.readexactly(length)
                answer = self.answer_now(message, tcp=True)
                if answer is not None and not isinstance(answer, bytes):
                    answer = await answer
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                async with asyncio.timeout(IDLE_SECONDS):
                    await writer.drain()
        except (OSError, TimeoutError, EOFError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Nameserver) -> None:
        self._server = server
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        def reply(answer: bytes) -> None:
            if not self._transport.is_closing():
                self._transport.sendto(answer, addr)

        try:
            self._server.datagram(data, reply)
        except Exception:  # one odd message must not silence the server
            log.exception("answering a DNS message")
