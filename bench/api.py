"""Verbs on a 1.5 KB ConfigMap, lists of 500 and watches, each beside the HTTP library's echo of the same bytes in the same run.

The caller is another process with a certificate whose rights come from RBAC; SQLite, fsync at every commit. For each verb: requests
a second by 1, 8 and 32 connections, the ratio to the echo, and CPU seconds of the server. For watches: milliseconds until the last
of 1, 100 and 1,000 watchers has seen a created object, beside a bare stream's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from bench.common import system
from holdfast.lib import pki
from tests.system import System

SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"k": "v" * 1400}}
LIST = 500
EVENTS = 30
BARS = {"create": 0.34, "get": 0.5, "update": 0.3, "merge patch": 0.25}
UPSTREAM = {
    "create": (347, 1096, 1211),
    "get": (833, 2612, 2498),
    "update": (255, 872, 1100),
    "merge patch": (262, 917, 858),
    "list of 500": (118, 197, 153),
}
"""What kube-apiserver 1.36 with etcd 3.6 did on the same kind of machine, by 1, 8 and 32 connections: for orientation."""
CONNECTIONS = (1, 8, 32)

Call = Callable[..., Awaitable[bytes]]


@dataclass(frozen=True)
class Peer:
    """A server under load: where it is, what it takes to be let in, and its process."""

    url: str
    tls: ssl.SSLContext
    pid: int

    def cpu(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(peer: Peer, connections: int, one: Callable[[int, int], Awaitable[object]]) -> tuple[float, float]:
    """Requests a second, and CPU milliseconds a request, with so many loops of ``one`` side by side."""
    done = 0
    cpu, begun = peer.cpu(), time.perf_counter()

    async def loop(number: int) -> None:
        nonlocal done
        count = 0
        while time.perf_counter() < begun + SECONDS:
            await one(number, count)
            count += 1
            done += 1

    await asyncio.gather(*(loop(number) for number in range(connections)))
    return done / (time.perf_counter() - begun), (peer.cpu() - cpu) / done * 1000


def caller(session: aiohttp.ClientSession, peer: Peer) -> Call:
    async def call(method: str, path: str, body: object = None, media: str = "application/json") -> bytes:
        data = body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else None
        async with session.request(method, peer.url + path, data=data, ssl=peer.tls, headers={"Content-Type": media}) as answer:
            text = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(text.decode())
            return text

    return call


async def verbs(ours: Peer, echo: Peer, call: Call, bare: Call, connections: int) -> None:
    path = "/api/v1/namespaces/default/configmaps"

    def name(number: int, count: int = 0) -> str:
        return f"b-{connections}-{number}-{count}"

    def body(number: int, count: int) -> dict[str, Any]:
        return {**BODY, "metadata": {"name": name(number)}, "data": {"k": f"{count}" + "v" * 1400}}

    async def create(number: int, count: int) -> None:
        await call("POST", path, {**BODY, "metadata": {"name": name(number, count)}})

    async def get(number: int, count: int) -> None:
        await call("GET", f"{path}/{name(number)}")

    async def update(number: int, count: int) -> None:
        await call("PUT", f"{path}/{name(number)}", body(number, count))

    async def patch(number: int, count: int) -> None:
        await call("PATCH", f"{path}/{name(number)}", {"data": {"k": f"{count}" + "v" * 1400}}, "application/merge-patch+json")

    async def listed(number: int, count: int) -> None:
        await call("GET", f"/api/v1/namespaces/listed/configmaps?limit={LIST}")

    async def sent(number: int, count: int) -> None:
        await bare("POST", "/", BODY)

    async def taken(size: int, number: int, count: int) -> None:
        await bare("GET", f"/{size}")

    size = len(await call("GET", f"/api/v1/namespaces/listed/configmaps?limit={LIST}"))
    bases = {one: await load(echo, connections, one) for one in (sent,)}
    for what, one, base in (
        ("create", create, sent),
        ("get", get, functools.partial(taken, 1800)),
        ("update", update, sent),
        ("merge patch", patch, sent),
        ("list of 500", listed, functools.partial(taken, size)),
    ):
        rate, cpu = await load(ours, connections, one)
        rate_bare, cpu_bare = bases.get(base) or await load(echo, connections, base)
        bar = f"(bar {BARS[what]})" if what in BARS and connections > 1 else ""
        print(
            f"{connections:3d} connections  {what:11s} {rate:6.0f}/s, {cpu:6.3f} ms CPU"
            f"   echo {rate_bare:6.0f}/s, {cpu_bare:6.3f} ms CPU   ratio {rate / rate_bare:.2f} {bar:10s}"
            f"  {rate / UPSTREAM[what][CONNECTIONS.index(connections)]:4.1f} x upstream's",
            flush=True,
        )


@contextlib.asynccontextmanager
async def _watching(session: aiohttp.ClientSession, peer: Peer, path: str, number: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """So many streams from ``path``; the value waits until each has had one line more."""
    arrived = asyncio.Queue[None]()

    async def read(answer: aiohttp.ClientResponse) -> None:
        async for _line in answer.content:
            arrived.put_nowait(None)

    async def everyone() -> None:
        for _ in range(number):
            await arrived.get()

    answers = [await session.get(peer.url + path, ssl=peer.tls) for _ in range(number)]
    readers = [asyncio.create_task(read(answer)) for answer in answers]
    try:
        yield everyone
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        for answer in answers:
            answer.close()


async def _seen(call: Callable[[int], Awaitable[object]], everyone: Callable[[], Awaitable[None]]) -> list[float]:
    """Milliseconds from a call until every watcher had its event, sorted."""
    times = []
    for count in range(EVENTS):
        begun = time.perf_counter()
        await asyncio.gather(call(count), everyone())
        times.append((time.perf_counter() - begun) * 1000)
    return sorted(times)


async def watches(session: aiohttp.ClientSession, ours: Peer, echo: Peer, call: Call, bare: Call, watchers: int) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    revision = orjson.loads(await call("GET", path + "?limit=1"))["metadata"]["resourceVersion"]
    line = orjson.dumps({"type": "ADDED", "object": BODY}) + b"\n"
    async with _watching(session, ours, f"{path}?watch=1&resourceVersion={revision}", watchers) as everyone:
        cpu = ours.cpu()
        times = await _seen(lambda count: call("POST", path, {**BODY, "metadata": {"name": f"w-{watchers}-{count}"}}), everyone)
        cpu = (ours.cpu() - cpu) / EVENTS / watchers * 1e6
    async with _watching(session, echo, "/watch", watchers) as everyone:
        base = await _seen(lambda count: bare("POST", "/say", line), everyone)
    middle, middle_bare = statistics.median(times), statistics.median(base)
    print(
        f"{watchers:5d} watchers: all have seen a created object after {middle:6.1f} ms (p99 {times[-1]:.1f})"
        f"   bare streams {middle_bare:6.1f} ms   ratio {middle_bare / middle:.2f}   {cpu:.0f} us CPU an event",
        flush=True,
    )


async def measure(ours: Peer, echo: Peer) -> None:
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=jar, auto_decompress=True) as session:
        session.headers["Accept-Encoding"] = "identity"
        call, bare = caller(session, ours), caller(session, echo)
        for number in range(LIST):
            await call("POST", "/api/v1/namespaces/listed/configmaps", {**BODY, "metadata": {"name": f"l-{number}"}})
        for connections in CONNECTIONS:
            await verbs(ours, echo, call, bare, connections)
        for watchers in (1, 100, 1000):
            await watches(session, ours, echo, call, bare, watchers)


def admit(running: System) -> ssl.SSLContext:
    """A user whom RBAC, not the master group, lets in."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bench"}
    running.kubectl("create", "namespace", "listed")
    running.kubectl("create", "clusterrolebinding", "bench", f"--clusterrole={role['name']}", f"--user={subject['name']}")
    directory = running.data / "pki"
    authority = pki.load(directory, "ca")
    with tempfile.TemporaryDirectory() as scratch:
        return pki.client_context(authority.certificate, pki.issue_client(authority, "bench"), Path(scratch))


@contextlib.contextmanager
def echoing(pem: bytes) -> Iterator[Peer]:
    plain = ssl.create_default_context()
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as scratch:
        port_file, chain = Path(scratch) / "port", Path(scratch) / "pem"
        chain.write_bytes(pem)
        process = subprocess.Popen([sys.executable, "-m", "bench.echo", str(port_file), str(chain)])
        try:
            while not (port_file.exists() and port_file.read_text()):
                time.sleep(0.02)
            yield Peer(f"https://127.0.0.1:{port_file.read_text()}", plain, process.pid)
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    with system() as running:
        server = pki.load(running.data / "pki", "server")
        pid = orjson.loads((running.data / "run" / "server.pid").read_bytes())["pid"]
        ours = Peer(running.api.server, admit(running), pid)
        with echoing(server.certificate + server.key) as echo:
            uvloop.run(measure(ours, echo))
