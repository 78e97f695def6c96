"""100,000 ConfigMaps and 10,000 Pods on disk: the start, the memory an object takes, and whether single requests stay flat.

The same requests are made of an almost empty server in the same run. Bars: start 5 s, 6 KB an object.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop

from holdfast.client.http import HttpClient
from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import CONFIGMAPS, NAMESPACES, PODS, SERVICEACCOUNTS
from holdfast.machinery.errors import ApiError
from holdfast.registry.bootstrap import SERVER, bootstrap
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.store.sqlite import SqliteStore

SPACES, MAPS, PODS_EACH = 100, 1000, 100
REQUESTS = 300
PRIVILEGED = {"pod-security.kubernetes.io/enforce": "privileged"}
DATA = {"k": "v" * 1400}


async def fill(path: Path) -> None:
    """Writes the objects as the API would, without its sockets and controllers."""
    store = SqliteStore(path)
    await store.start()
    registry = Registry(store, builtin_table())
    await registry.start()
    await bootstrap(registry)
    client = LocalClient(registry, SERVER, "bench")

    async def create(resource: Resource, namespace: str, name: str, **more: object) -> None:
        await client.create(resource, {"metadata": {"name": name}, **more}, namespace)

    for space in (f"n{number}" for number in range(SPACES)):
        await client.create(NAMESPACES, {"metadata": {"name": space, "labels": PRIVILEGED}})
        await create(SERVICEACCOUNTS, space, "default")
        await asyncio.gather(*(create(CONFIGMAPS, space, f"c{number}", data=DATA) for number in range(MAPS)))
        spec = {"nodeName": "elsewhere", "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]}
        await asyncio.gather(*(create(PODS, space, f"p{number}", spec=spec) for number in range(PODS_EACH)))
    await registry.close()
    await store.close()


@contextlib.contextmanager
def serving(data: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast.cli.main", "server", "--data", str(data), "--listen", "127.0.0.1:0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process, str(data / "kubeconfig")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def rest(pid: int) -> None:
    """Until a process has used no CPU for a second."""
    before, used = -1.0, cpu(pid)
    while used != before:
        await asyncio.sleep(1)
        before, used = used, cpu(pid)


async def median(call: Callable[[int], Awaitable[object]]) -> float:
    """Milliseconds."""
    times = []
    for number in range(REQUESTS):
        begun = time.perf_counter()
        await call(number)
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


async def connected(config: Path) -> HttpClient:
    """Once the server says that it is ready."""
    while True:
        with contextlib.suppress(OSError, ValueError):
            client = HttpClient.from_kubeconfig(config)
            try:
                await client.raw("GET", "/readyz")
                return client
            except (OSError, ApiError):
                await client.close()
        await asyncio.sleep(0.02)


async def measure(label: str, data: Path, namespace: str) -> int:
    """Resident bytes once nothing is left to do."""
    begun = time.perf_counter()
    with serving(data) as (process, config):
        client = await connected(Path(config))
        started = time.perf_counter() - begun
        await rest(process.pid)

        async def get(number: int) -> Obj:
            return await client.get(CONFIGMAPS, f"c{number}", namespace)

        async def update(number: int) -> Obj:
            return await client.update(
                CONFIGMAPS, {"metadata": {"name": f"c{number}", "namespace": namespace}, "data": {"k": "w" * 1400}}
            )

        got, updated = await median(get), await median(update)
        revision = (await get(0))["metadata"]["resourceVersion"]
        await update(1)
        begun = time.perf_counter()
        async for _event in client.watch(CONFIGMAPS, resource_version=revision):
            break
        seen = (time.perf_counter() - begun) * 1000
        size = resident(process.pid)
        await client.close()
        print(
            f"{label:16s} start {started:.2f} s   resident {size / 1e6:.0f} MB   get {got:.2f} ms   update {updated:.2f} ms"
            f"   watch from a recent revision {seen:.1f} ms"
        )
    return size


async def run(directory: Path) -> None:
    small, large = directory / "small", directory / "large"
    with serving(small) as (_process, config):
        client = await connected(Path(config))
        for number in range(REQUESTS):
            await client.create(CONFIGMAPS, {"metadata": {"name": f"c{number}"}, "data": DATA}, "default")
        await client.close()
    large.mkdir()
    await fill(large / "store.db")
    base = await measure("almost empty", small, "default")
    full = await measure("110,000 objects", large, "n0")
    print(f"{(full - base) / (SPACES * (MAPS + PODS_EACH)) / 1000:.1f} KB an object (bar 6); the start's bar is 5 s")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        uvloop.run(run(Path(directory)))
