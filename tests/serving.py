"""A whole API server in the test's own process, over real HTTPS: registry, edge and controllers, on the memory store or SQLite."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDictProxy
from yarl import URL

from holdfast.lib import pki
from holdfast.registry.registry import Registry
from holdfast.server.gate import Limits
from holdfast.system.server import Serving, serving
from holdfast.system.settings import Settings

STORES = ("memory", "sqlite")
JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    raw: bytes

    @property
    def body(self) -> Any:
        """Decoded JSON; the text where it is none; None for nothing."""
        if not self.raw:
            return None
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError:
            return self.raw.decode(errors="replace")

    @property
    def warnings(self) -> list[str]:
        return self.headers.getall("Warning", [])


class Api:
    """Requests as one user: a client certificate's, or a bearer token's."""

    def __init__(self, server: Serving, session: aiohttp.ClientSession, tls: ssl.SSLContext, headers: dict[str, str]) -> None:
        self.server = server
        self.session = session
        self.tls = tls
        self.headers = headers

    @property
    def registry(self) -> Registry:
        return self.server.registry

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer while it is still coming. ``path`` goes out as it is; a ``body`` that is no text goes out as JSON."""
        data = body.encode() if isinstance(body, str) else body
        sent = {**self.headers, **(headers or {})}
        if body is not None and not isinstance(body, str | bytes):
            data = orjson.dumps(body)
            sent.setdefault("Content-Type", JSON)
        url = URL(self.server.address + path, encoded=True)
        bare = () if "Content-Type" in sent else ("Content-Type",)
        async with self.session.request(
            method, url, data=data, headers=sent, ssl=self.tls, skip_auto_headers=bare, allow_redirects=False
        ) as answer:
            yield answer

    async def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        async with self.open(method, path, body, headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, headers=headers)

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        return await self.call("POST", path, body, headers)

    async def put(self, path: str, body: Any, **headers: str) -> Answer:
        return await self.call("PUT", path, body, headers)

    async def patch(self, path: str, body: Any, kind: str = "application/merge-patch+json") -> Answer:
        return await self.call("PATCH", path, body, {"Content-Type": kind})

    async def delete(self, path: str, body: Any = None) -> Answer:
        return await self.call("DELETE", path, body)

    def as_user(self, name: str, *groups: str) -> Api:
        """The same server, asked by a client certificate of that user."""
        keys = self.server.keys
        pair = pki.issue_client(keys.ca, name, list(groups))
        return Api(self.server, self.session, _client_tls(keys, pair), dict(self.headers))

    def with_token(self, token: str) -> Api:
        tls = ssl.create_default_context(cadata=self.server.keys.ca.certificate.decode())
        return Api(self.server, self.session, tls, {**self.headers, "Authorization": f"Bearer {token}"})


def _client_tls(keys: pki.Pki, pair: pki.Credential) -> ssl.SSLContext:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        return pki.client_context(keys.ca.certificate, pair, Path(scratch))


@contextlib.asynccontextmanager
async def api_server(
    data: Path, store: str = "memory", limits: Limits | None = None, pod_security: str = "baseline"
) -> AsyncIterator[Api]:
    """As the administrator of a fresh server in ``data``. ``store``: one of STORES."""
    settings = Settings(
        data=data,
        port=0,
        store="memory://" if store == "memory" else "",
        limits=limits or Limits(),
        pod_security=pod_security,
    )
    async with serving(settings) as server, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tls = _client_tls(server.keys, server.keys.admin)
        yield Api(server, session, tls, {"Accept": JSON, "User-Agent": "golden/1.0"})
