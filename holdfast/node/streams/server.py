"""The HTTPS server of the kubelet's API. Only the API server's client certificate gets in."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from holdfast.lib.clock import parse_rfc3339
from holdfast.lib.upgrade import TUNNEL, Duplex, response_head, splice, take_over
from holdfast.node.api import Network
from holdfast.node.runtimes.api import InstanceState, Runtime, Streams
from holdfast.node.streams import channels, forward, logs, remote
from holdfast.node.streams.api import Lookup, Refused
from holdfast.node.streams.channels import SpdyChannels, WebSocketChannels
from holdfast.node.streams.wire import SpdyConnection

log = logging.getLogger("holdfast.node.streams")

CLIENT_NAME = "kube-apiserver-kubelet-client"
CLIENT_GROUP = "system:masters"
HEARTBEAT_SECONDS = 30.0
READY_SECONDS = 10.0
CLOSE_SECONDS = 5.0
DIAL_SECONDS = 10.0


class StreamServer:
    """``tls`` must require client certificates of our CA; ``port`` 0 takes a free one, then told by ``port``."""

    def __init__(
        self, runtime: Runtime, lookup: Lookup, network: Network, *, tls: ssl.SSLContext, host: str = "127.0.0.1", port: int = 10250
    ) -> None:
        if tls.verify_mode != ssl.CERT_REQUIRED:
            raise ValueError("the stream server needs a TLS context that requires client certificates")
        self._runtime = runtime
        self._lookup = lookup
        self._network = network
        self._tls = tls
        self.host = host
        self.port = port
        self._runner: web.AppRunner | None = None
        self._ends: dict[str, set[asyncio.Event]] = {}
        self._sessions = 0
        runtime.on_exit(self._exited)

    async def start(self) -> None:
        app = web.Application(middlewares=[self._guard])
        for action, handler in (("exec", self._exec), ("attach", self._attach)):
            for method in ("GET", "POST"):
                app.router.add_route(method, f"/{action}/{{namespace}}/{{pod}}/{{container}}", handler)
        for method in ("GET", "POST"):
            app.router.add_route(method, "/portForward/{namespace}/{pod}", self._port_forward)
        app.router.add_get("/tunnel/{namespace}/{pod}/{port:[0-9]{1,5}}", self._tunnel)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_get("/healthz", self._health)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def statistics(self) -> dict[str, int]:
        return {"sessions": self._sessions}

    # --- who may call

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if not _trusted(request):
            return web.Response(status=403, text="only the API server may call the node")
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._lookup.wait_ready()
        except TimeoutError:
            return web.Response(status=503, text="the node does not know its pods yet: it cannot reach the API server")
        self._sessions += 1
        try:
            return await handler(request)
        except Refused as refused:
            return web.Response(status=refused.status, text=refused.message)
        finally:
            self._sessions -= 1

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    # --- exec and attach

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        options = _options(request)
        if not options.command:
            raise Refused(400, "you must specify at least 1 command for the container")
        instance = self._instance(request)

        async def begin() -> Streams:
            return await self._runtime.exec(instance, list(options.command), tty=options.tty, stdin=options.stdin)

        return await self._session(request, options, begin, attach=False)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        instance = self._instance(request)
        return await self._session(request, _options(request), lambda: self._runtime.attach(instance), attach=True)

    def _instance(self, request: web.Request) -> str:
        info = request.match_info
        instance = self._lookup.instance(info["namespace"], info["pod"], info["container"]).instance
        state = self._runtime.instances().get(instance)
        if state is None or state.phase != "running":
            raise Refused(400, f'container "{info["container"]}" in pod "{info["pod"]}" is not running')
        return instance

    async def _session(
        self, request: web.Request, options: remote.Options, begin: Callable[[], Awaitable[Streams]], *, attach: bool
    ) -> web.StreamResponse:
        if _is_websocket(request):
            socket = web.WebSocketResponse(protocols=channels.WEBSOCKET_PROTOCOLS, heartbeat=HEARTBEAT_SECONDS, compress=False)
            await socket.prepare(request)
            client = WebSocketChannels(socket)
            receiving = asyncio.create_task(client.receive())
            try:
                # The first message tells the client that the session stands.
                await client.write(channels.STDOUT if options.stdout else channels.ERROR, b"")
                await client.finish(await remote.serve(client, options, begin, attach=attach))
            except ConnectionError as error:
                log.debug("session: %s", error)
            finally:
                await _end(receiving)
            return socket
        version = _negotiate(request, channels.SPDY_VERSIONS)
        async with take_over(request, _switching(version)) as duplex:
            connection = SpdyConnection(duplex)
            receiving = asyncio.create_task(connection.receive())
            try:
                streams = SpdyChannels(connection, version)
                # v1 and v2 have no resize stream, so none is waited for even with a tty.
                wanted = options.channels | ({channels.RESIZE} if options.tty and version in (channels.V3, channels.V4) else set())
                await streams.open(wanted)
                await streams.finish(await remote.serve(streams, options, begin, attach=attach))
            except (ConnectionError, TimeoutError) as error:
                log.debug("session: %s", error)
            finally:
                await _end(receiving)
        return web.Response()

    # --- port-forward

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        netns = self._lookup.network(request.match_info["namespace"], request.match_info["pod"]).netns

        async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await self._network.connect(netns, "127.0.0.1", port)

        if _is_websocket(request):
            socket = web.WebSocketResponse(
                protocols=(forward.TUNNEL, forward.CHANNELS), heartbeat=HEARTBEAT_SECONDS, compress=False, max_msg_size=16 << 20
            )
            await socket.prepare(request)
            if socket.ws_protocol == forward.TUNNEL:
                await forward.serve_tunnel(socket, dial)
            else:
                await forward.serve_channels(socket, _ports(request), dial)
            return socket
        version = _negotiate(request, (forward.PROTOCOL,))
        async with take_over(request, _switching(version)) as duplex:
            connection = SpdyConnection(duplex)
            receiving = asyncio.create_task(connection.receive())
            try:
                await forward.serve(connection.session, dial)
                await connection.finish()
            finally:
                await _end(receiving)
        return web.Response()

    async def _tunnel(self, request: web.Request) -> web.StreamResponse:
        """A plain connection to a port of a pod: what the API server's proxy speaks through."""
        info = request.match_info
        if request.headers.get("Upgrade", "").lower() != TUNNEL:
            raise Refused(400, "upgrade request required")
        network, port = self._lookup.network(info["namespace"], info["pod"], request.query.get("uid", "")), int(info["port"])
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                reader, writer = await self._network.connect(network.netns, network.ip, port)
        except (OSError, OverflowError) as error:  # TimeoutError is one
            reason = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error) or "i/o timeout"
            raise Refused(503, f"dial tcp {network.ip}:{port}: connect: {reason}") from error
        async with take_over(
            request, response_head(101, "Switching Protocols", {"Connection": "Upgrade", "Upgrade": TUNNEL})
        ) as client:
            try:
                await splice(client, Duplex(reader, writer))
            finally:
                writer.close()
        return web.Response()

    # --- logs

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        info, query = request.match_info, request.query
        target = self._lookup.instance(info["namespace"], info["pod"], info["container"], _flag(query.get("previous", "")))
        options = _log_options(request)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        ended = self._until_exit(target.instance)
        try:
            await response.prepare(request)
            pieces = logs.read(Path(target.log_path), options, ended)
            try:
                async for text in pieces:
                    await response.write(text)
            finally:
                await pieces.aclose()  # type: ignore[attr-defined]
            await response.write_eof()
        except ConnectionError as error:
            log.debug("logs: %s", error)
        finally:
            self._ends.get(target.instance, set()).discard(ended)
        return response

    def _until_exit(self, instance: str) -> asyncio.Event:
        ended = asyncio.Event()
        state = self._runtime.instances().get(instance)
        if state is None or state.phase != "running":
            ended.set()
        else:
            self._ends.setdefault(instance, set()).add(ended)
        return ended

    def _exited(self, state: InstanceState) -> None:
        for ended in self._ends.pop(state.id, ()):
            ended.set()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _trusted(request: web.Request) -> bool:
    """By the client certificate, which TLS has already verified against our CA."""
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    subject = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
    return ("commonName", CLIENT_NAME) in subject or ("organizationName", CLIENT_GROUP) in subject


def _flag(value: str) -> bool:
    return value.lower() in ("1", "true", "t")


def _options(request: web.Request) -> remote.Options:
    """The kubelet's parameter names, or the API's, which say the same."""
    query = request.query

    def either(kubelet: str, api: str) -> bool:
        return _flag(query.get(kubelet, "")) or _flag(query.get(api, ""))

    return remote.Options(
        tuple(query.getall("command", [])),
        either("input", "stdin"),
        either("output", "stdout"),
        either("error", "stderr"),
        either("tty", "tty"),
    )


def _log_options(request: web.Request) -> logs.LogOptions:
    query = request.query
    try:
        since = 0.0
        if "sinceSeconds" in query:
            since = time.time() - int(query["sinceSeconds"])
        elif query.get("sinceTime"):
            since = parse_rfc3339(query["sinceTime"])
        tail, limit = int(query.get("tailLines") or -1), int(query.get("limitBytes") or -1)
    except ValueError as error:
        raise Refused(400, f"log options: {error}") from error
    stream = {"Stdout": "stdout", "Stderr": "stderr"}.get(query.get("stream", ""), "")
    return logs.LogOptions(_flag(query.get("follow", "")), tail, since, _flag(query.get("timestamps", "")), limit, stream)


def _ports(request: web.Request) -> list[int]:
    texts = [text for value in request.query.getall("ports", request.query.getall("port", [])) for text in value.split(",")]
    ports = [int(text) for text in texts if text.isdigit() and 0 < int(text) < 65536]
    if not ports or len(ports) != len(texts):
        raise Refused(400, 'query parameter "port" is required and must be a list of ports')
    return ports


def _is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def _negotiate(request: web.Request, spoken: tuple[str, ...]) -> str:
    """The protocol version for SPDY. Raises Refused."""
    if request.headers.get("Upgrade", "").lower() != "spdy/3.1":
        raise Refused(400, "upgrade request required")
    offered = [text.strip() for value in request.headers.getall("X-Stream-Protocol-Version", []) for text in value.split(",")]
    for version in spoken:
        if version in offered:
            return version
    if not offered:
        return spoken[-1]
    raise Refused(403, f"unable to negotiate protocol: client supports {offered}, server accepts {list(spoken)}")


def _switching(version: str) -> bytes:
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": version}
    return response_head(101, "Switching Protocols", headers)
