"""The client over HTTPS: any Kubernetes API server, with a client certificate or a token.

Watches are newline-separated JSON read as it comes. A refusal is the server's Status as ApiError. When
the connection ends after a write was sent, nobody knows its fate: UnknownOutcomeError, and the caller
reads again. A connection that could not even be made is ``UnreachableError``: nothing was sent.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from holdfast.client.api import MERGE_PATCH, WatchEvent
from holdfast.kinds.kind import Obj, Resource
from holdfast.lib import kubeconfig, pki
from holdfast.machinery.errors import ApiError, UnknownOutcomeError

LINE_LIMIT = 16 * 1024 * 1024
TIMEOUT_SECONDS = 70
REQUESTS = 64
"""Requests under way at once; more wait for their turn. Each connection costs a TLS handshake on both sides."""


PARTIAL = "application/json;as={};g=meta.k8s.io;v=v1"


class UnreachableError(ConnectionError):
    """No connection to the API server could be made; nothing was sent."""


class HttpClient:
    def __init__(self, server: str, *, tls: ssl.SSLContext, token: str = "", user_agent: str = "holdfast") -> None:
        self.server = server.rstrip("/")
        self._tls = tls
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._sessions: dict[int, aiohttp.ClientSession] = {}

    @classmethod
    def from_kubeconfig(cls, path: Path, *, user_agent: str = "holdfast") -> HttpClient:
        """Raises ValueError for a kubeconfig that lacks something."""
        config = kubeconfig.load(path)
        tls = pki.client_context(config.ca, config.credential, path.parent)
        return cls(config.server, tls=tls, token=config.token, user_agent=user_agent)

    def _open(self, limit: int = REQUESTS) -> aiohttp.ClientSession:
        """Requests share few connections, each watch has its own (``limit`` 0)."""
        session = self._sessions.get(limit)
        if session is None or session.closed:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=limit, keepalive_timeout=30, socket_factory=_socket)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=10)
            session = self._sessions[limit] = aiohttp.ClientSession(
                connector=connector, headers=self._headers, timeout=timeout, read_bufsize=2**16, auto_decompress=True
            )
            # aiohttp sends PUT and DELETE again when a kept connection turns out dead; the first may have been stored.
            session._retry_connection = False
        return session

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: dict[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "",
    ) -> bytes:
        """The answer's bytes. Raises ApiError, UnknownOutcomeError, UnreachableError."""
        data = orjson.dumps(body) if body is not None else None
        headers = ({"Content-Type": content_type} if data is not None else {}) | ({"Accept": accept} if accept else {})
        try:
            try:
                return await self._send(method, path, data, params, headers)
            except aiohttp.ServerDisconnectedError:
                if method != "GET":
                    raise
                return await self._send(method, path, data, params, headers)
        except aiohttp.ClientConnectorError as error:
            raise UnreachableError(f"{self.server}: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            if method == "GET":
                raise UnreachableError(f"{self.server}: {error!r}") from error
            raise UnknownOutcomeError(f"{method} {path}: {error!r}") from error

    async def _send(self, method: str, path: str, data: bytes | None, params: dict[str, str] | None, headers: dict[str, str]) -> bytes:
        url = self.server + path
        # A redirect would carry our identity to an address nobody named: it is an answer like any other.
        async with self._open().request(method, url, data=data, params=params, headers=headers, allow_redirects=False) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise _refusal(answer.status, text)
            return text

    async def _object(self, method: str, path: str, body: Any = None, **more: Any) -> Obj:
        decoded: Obj = orjson.loads(await self.raw(method, path, body, **more))
        return decoded

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return await self._object("GET", resource.path(namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Obj:
        params = _params(labelSelector=labels, fieldSelector=fields, resourceVersion=resource_version)
        accept = PARTIAL.format("PartialObjectMetadataList") if metadata_only else ""
        found = await self._object("GET", resource.path(namespace), params=params, accept=accept)
        for item in found["items"]:
            _typed(resource, item, metadata_only=metadata_only)
        return found

    async def create(self, resource: Resource, obj: Obj, namespace: str = "", *, subresource: str = "", name: str = "") -> Obj:
        namespace = namespace or _namespace(resource, obj)
        return await self._object("POST", resource.path(namespace, name, subresource), obj)

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        path = resource.path(_namespace(resource, obj), obj["metadata"]["name"], subresource)
        return await self._object("PUT", path, obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Any,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Obj:
        path = resource.path(namespace, name, subresource)
        return await self._object("PATCH", path, patch, content_type=content_type)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_period: int | None = None,
        propagation: str = "",
    ) -> Obj:
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        preconditions = _params(uid=uid, resourceVersion=resource_version)
        if preconditions:
            body["preconditions"] = preconditions
        if grace_period is not None:
            body["gracePeriodSeconds"] = grace_period
        if propagation:
            body["propagationPolicy"] = propagation
        return await self._object("DELETE", resource.path(namespace, name), body)

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        params = _params(labelSelector=labels, fieldSelector=fields, resourceVersion=resource_version)
        params |= {"watch": "true", "allowWatchBookmarks": "true"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=None)
        headers = {"Accept": PARTIAL.format("PartialObjectMetadata")} if metadata_only else {}
        try:
            async with self._open(0).get(
                self.server + resource.path(namespace), params=params, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                if answer.status >= 300:
                    raise _refusal(answer.status, await answer.read())
                async for line in _lines(answer.content):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError.from_status(event["object"])
                    yield WatchEvent(event["type"], _typed(resource, event["object"], metadata_only=metadata_only))
        except aiohttp.ClientConnectorError as error:
            raise UnreachableError(f"{self.server}: {error}") from error
        except (aiohttp.ClientError, asyncio.IncompleteReadError) as error:
            raise UnreachableError(f"{self.server}: the watch of {resource.plural} ended: {error!r}") from error


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """With probes: a watch may be silent for long, and a peer that vanished says nothing."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to a bound (the reader's own limit is far too small for objects)."""
    rest = bytearray()
    async for chunk in content.iter_any():
        rest += chunk
        if b"\n" in chunk:
            *whole, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in whole:
                if line:
                    yield line
        elif len(rest) > LINE_LIMIT:
            raise aiohttp.ClientPayloadError("a watch event is too large")


def _refusal(code: int, text: bytes) -> ApiError:
    try:
        status = orjson.loads(text)
        if isinstance(status, dict) and status.get("kind") == "Status":
            return ApiError.from_status(status)
    except ValueError:
        pass
    return ApiError(code, "Unknown", text.decode(errors="replace").strip() or f"HTTP {code}")


def _typed(resource: Resource, obj: Obj, *, metadata_only: bool) -> Obj:
    """Items of lists do not say what they are, metadata alone says it is metadata."""
    obj["kind"], obj["apiVersion"] = resource.kind, resource.api_version
    if metadata_only:
        obj["metadata"].pop("managedFields", None)
    return obj


def _params(**given: str) -> dict[str, str]:
    return {name: value for name, value in given.items() if value}


def _namespace(resource: Resource, obj: Obj) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "default") if resource.namespaced else ""
