"""The bare cost: the HTTP library's own server over the same TLS, which echoes a body, gives back bytes, and tells streams.

``python -m bench.echo PORT_FILE PEM``. POST / answers with its body; GET /N with N bytes; GET /watch streams every body
that is POSTed to /say.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

import uvloop
from aiohttp import web


class Echo:
    def __init__(self) -> None:
        self._streams: list[web.StreamResponse] = []
        self._sizes: dict[str, bytes] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/watch":
            return await self._watch(request)
        body = await request.read()
        if request.path == "/say":
            for stream in self._streams[:]:
                with contextlib.suppress(ConnectionError):
                    await stream.write(body)
        elif request.method == "GET":
            body = self._sizes.setdefault(request.path, b"v" * int(request.path[1:]))
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        self._streams.append(stream)
        try:
            await asyncio.Event().wait()
        finally:
            self._streams.remove(stream)
        return stream


async def serve(port_file: str, pem: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    runner = web.ServerRunner(web.Server(Echo().handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    await asyncio.to_thread(Path(port_file).write_text, str(runner.addresses[0][1]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2]))
