"""Create, get and update of a 1.5 KB ConfigMap over TLS, beside the HTTP library's own echo of the same bytes in the same run.

The echo server is aiohttp on uvloop over the same kind of certificate: what the wire alone costs.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import orjson
import uvloop
import yaml

from bench.common import system

SECONDS = 2.0
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"k": "v" * 1400}}


async def _echo(port_file: str, cert: str) -> None:
    from aiohttp import web

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert)

    async def handle(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.read() or PAYLOAD, content_type="application/json")

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    await asyncio.to_thread(Path(port_file).write_text, str(site._server.sockets[0].getsockname()[1]))  # type: ignore[union-attr]
    await asyncio.Event().wait()


PAYLOAD = orjson.dumps(BODY)


async def rate(connections: int, one: object) -> float:
    """Requests per second with ``connections`` loops of ``one`` side by side."""
    done = 0
    end = time.perf_counter() + SECONDS

    async def loop(number: int) -> None:
        nonlocal done
        count = 0
        while time.perf_counter() < end:
            await one(number, count)  # type: ignore[operator]
            count += 1
            done += 1

    begun = time.perf_counter()
    await asyncio.gather(*(loop(n) for n in range(connections)))
    return done / (time.perf_counter() - begun)


async def _measure(server: str, echo: str, tls: ssl.SSLContext) -> None:
    path = f"{server}/api/v1/namespaces/default/configmaps"
    plain = ssl.create_default_context()
    plain.check_hostname = False
    plain.verify_mode = ssl.CERT_NONE
    run = int(time.time())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(method: str, url: str, context: ssl.SSLContext, body: object = None) -> None:
            data = orjson.dumps(body) if body is not None else None
            headers = {"Content-Type": "application/json"}
            async with session.request(method, url, data=data, ssl=context, headers=headers) as answer:
                text = await answer.read()
                if answer.status >= 400:
                    raise RuntimeError(text.decode())

        for connections in (1, 8, 32):

            async def create(number: int, count: int, c: int = connections) -> None:
                await call("POST", path, tls, {**BODY, "metadata": {"name": f"b-{run}-{c}-{number}-{count}"}})

            async def get(number: int, count: int, c: int = connections) -> None:
                await call("GET", f"{path}/b-{run}-{c}-{number}-0", tls)

            async def update(number: int, count: int, c: int = connections) -> None:
                name = f"b-{run}-{c}-{number}-0"
                await call("PUT", f"{path}/{name}", tls, {**BODY, "metadata": {"name": name}, "data": {"k": f"{count}" + "v" * 1400}})

            async def post_echo(number: int, count: int) -> None:
                await call("POST", echo, plain, BODY)

            async def get_echo(number: int, count: int) -> None:
                await call("GET", echo, plain)

            writes, reads = await rate(connections, post_echo), await rate(connections, get_echo)
            for name, one, base in (("create", create, writes), ("get", get, reads), ("update", update, writes)):
                ours = await rate(connections, one)
                print(f"{connections:3d} connections  {name:7s} {ours:7.0f}/s   echo {base:7.0f}/s   ratio {ours / base:.2f}")


def main() -> None:
    with system() as running, tempfile.TemporaryDirectory() as scratch:
        user = yaml.safe_load((running.data / "kubeconfig").read_text())["users"][0]["user"]
        pem = Path(scratch) / "pem"
        pem.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        port_file = Path(scratch) / "port"
        echo = subprocess.Popen([sys.executable, "-m", "bench.api", str(port_file), str(pem)])
        try:
            while not (port_file.exists() and port_file.read_text()):
                time.sleep(0.02)
            uvloop.run(_measure(running.api.server, f"https://127.0.0.1:{port_file.read_text()}/", running.api.tls))
        finally:
            echo.terminate()
            echo.wait()


if __name__ == "__main__":
    uvloop.run(_echo(sys.argv[1], sys.argv[2]))
