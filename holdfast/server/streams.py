"""exec, attach, port-forward and logs: authorized here, served by the pod's node, bytes passed through.

A node that does not switch protocols gets its answer passed on and the connection closed (SEC-1); no redirect is
followed (SEC-2). Whom the server dials at all: ``nodes``.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlencode

from aiohttp import web

from holdfast.kinds.kind import Obj
from holdfast.lib import http1
from holdfast.lib.http1 import BrokenAnswerError
from holdfast.lib.upgrade import splice, take_over
from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.registry.registry import Registry
from holdfast.server.nodes import DIAL_SECONDS, Node, Nodes, Reply
from holdfast.server.podoptions import LOG_OPTIONS, check_log_options, container_of
from holdfast.server.render import HEADERS
from holdfast.server.routes import Target

HEAD_LIMIT = 64 * 1024
_PASSED = ("upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "sec-websocket-extensions")


class Streams:
    def __init__(self, registry: Registry, nodes: Nodes) -> None:
        self._registry = registry
        self._nodes = nodes

    def _locate(self, target: Target, query: list[tuple[str, str]]) -> tuple[Node, str]:
        """The pod's node and the path to ask it for. Raises ApiError."""
        pod = self._pod(target)
        container = container_of(pod, dict(query).get("container", "")) if target.subresource != "portforward" else ""
        name = pod["spec"].get("nodeName")
        if not name:
            raise errors.bad_request(f"pod {target.name} does not have a host assigned")
        return self._nodes.locate(name), _path(target, container, query)

    def _pod(self, target: Target) -> Obj:
        found = self._registry.cache.get(f"/registry/pods/{target.namespace}/{target.name}")
        if found is None:
            raise errors.not_found("pods", target.name)
        return found.obj

    async def tunnel(self, request: web.BaseRequest, target: Target, query: list[tuple[str, str]]) -> web.StreamResponse:
        """exec, attach, portforward: the connection is the node's and the client's own until one of them ends it."""
        node, path = self._locate(target, query)
        if "upgrade" not in request.headers.get("Connection", "").lower():
            raise errors.bad_request("Upgrade request required")
        headers = [(k, v) for k, v in request.headers.items() if k.lower() in _PASSED]
        protocols = request.headers.getall("X-Stream-Protocol-Version", [])
        if protocols:
            headers.append(("X-Stream-Protocol-Version", ", ".join(protocols)))
        reply = await self._nodes.ask(node, request.method, path, headers)
        try:
            if reply.head.status != http1.SWITCHING:
                return await _pass_on(reply)
            async with take_over(request, reply.head.raw) as client:
                await splice(client, reply.connection)
        finally:
            reply.close()
        return web.Response()

    async def log(self, request: web.BaseRequest, target: Target, query: list[tuple[str, str]]) -> web.StreamResponse:
        check_log_options(target.name, dict(query))
        pod = self._pod(target)
        path = _path(target, container_of(pod, dict(query).get("container", "")), query)
        if not pod["spec"].get("nodeName"):
            return web.Response(status=204)
        reply = await self._nodes.ask(self._nodes.locate(pod["spec"]["nodeName"]), "GET", path, [("Connection", "close")])
        try:
            if reply.head.status != 200:
                return await _pass_on(reply)
            response = web.StreamResponse(headers=request[HEADERS] | {"Content-Type": "text/plain"})
            await response.prepare(request)
            async for chunk in http1.body(reply.connection.reader, reply.head):
                await response.write(chunk)
            await response.write_eof()
            return response
        finally:
            reply.close()


async def _pass_on(reply: Reply) -> web.Response:
    """A node's refusal, as an answer of ours; redirects are not followed."""
    status = reply.head.status
    body = bytearray()
    with contextlib.suppress(BrokenAnswerError, TimeoutError):  # what there is of it says enough
        async with asyncio.timeout(DIAL_SECONDS):
            async for chunk in http1.body(reply.connection.reader, reply.head):
                body += chunk
                if len(body) > HEAD_LIMIT:
                    break
    text = bytes(body).decode(errors="replace").strip()
    if 300 <= status < 400:
        raise ApiError(500, "InternalError", f"the node answered with a redirect ({status}), which is not followed", {})
    if text.startswith("{"):
        return web.Response(status=status, text=text, content_type="application/json", headers={"Connection": "close"})
    reason = "NotFound" if status == 404 else "BadRequest" if status == 400 else "InternalError"
    raise ApiError(status, reason, text or f"the node answered {status}", {})


def _path(target: Target, container: str, query: list[tuple[str, str]]) -> str:
    """The node's URL: the kubelet's forms."""
    where = f"{target.namespace}/{target.name}"
    if target.subresource == "portforward":
        return f"/portForward/{where}?{urlencode([p for p in query if p[0] == 'ports'])}".rstrip("?")
    if target.subresource == "log":
        options = [(k, v) for k, v in query if k in LOG_OPTIONS]
        return f"/containerLogs/{where}/{container}?{urlencode(options)}".rstrip("?")
    names = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
    options = [(names[k], "1") for k, v in query if k in names and v.lower() in ("1", "true")]
    options += [(k, v) for k, v in query if k == "command"]
    return f"/{target.subresource}/{where}/{container}?{urlencode(options)}".rstrip("?")
