"""StatefulSets of simulated members: seconds to Ready, through a rolling update and to zero; growth; and a thousand sets at rest.

``holdfast up --runtime simulated``: server with SQLite and fsync at every commit, node and this bench are processes of their own.
A member needs three writes one after the other (pod, binding, Ready) and is gone with three more (deletion, its end, removal).
Beside each figure stands what the bare store takes for as many commits: one after the other where the set is ordered, by 64
writers where it is not. Seconds are until the set's own status says so.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common import system
from holdfast.cli.kube import Kube
from holdfast.store.sqlite import SqliteStore
from tests.system import System

SETS = "/apis/apps/v1/namespaces/default/statefulsets"
START, REPLACE, END = 3, 6, 3
"""Commits a member needs."""
UPSTREAM = {
    "100 OrderedReady": (10.3, 1.7),
    "1000 Parallel": (49.0, 3.5),
    "rolling update of 100": (18.8, 2.3),
    "100 to 0": (8.6, 1.2),
}
"""Seconds of kube-controller-manager 1.36 with a fake kubelet: client limits as they come, and lifted."""
OTHER_IMAGE = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two:1"}]}}}}
QUIET_SETS, QUIET_SECONDS = 1000, 60
ROUNDS = 2


@dataclass(frozen=True)
class Bare:
    """Seconds of one write to the bare store."""

    serial: float
    grouped: float


async def _bare(directory: Path) -> Bare:
    store = SqliteStore(directory / "bare.db")
    await store.start()
    value = b"v" * 2500

    async def write(name: str, count: int) -> None:
        for number in range(count):
            await store.create(f"/registry/{name}/{number}", value)

    begun = time.perf_counter()
    await write("serial", 300)
    middle = time.perf_counter()
    await asyncio.gather(*(write(f"w{writer}", 50) for writer in range(64)))
    ended = time.perf_counter()
    await store.close()
    return Bare((middle - begun) / 300, (ended - middle) / 3200)


def manifest(name: str, replicas: int, policy: str, image: str = "one:1") -> dict[str, Any]:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {
        "replicas": replicas,
        "serviceName": name,
        "podManagementPolicy": policy,
        "selector": {"matchLabels": labels},
        "template": pod,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec}


def _ready(replicas: int) -> Callable[[dict[str, Any]], bool]:
    return lambda s: s.get("readyReplicas", 0) == replicas == s.get("updatedReplicas") and s["currentRevision"] == s["updateRevision"]


def _revision(kube: Kube) -> int:
    return int(kube.request("GET", "/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"])


def _timed(kube: Kube, change: Callable[[], object], done: Callable[[dict[str, Any]], bool]) -> tuple[float, int]:
    """Seconds until the set ``web`` is as wanted, and the store's writes meanwhile, events among them."""
    before = _revision(kube)
    begun = time.perf_counter()
    changed = change()
    assert isinstance(changed, dict)
    generation = changed["metadata"]["generation"]
    for event in kube.watch(SETS, fieldSelector="metadata.name=web", timeoutSeconds="600"):
        status = event["object"].get("status") or {}
        if status.get("observedGeneration", 0) >= generation and done(status):
            break
    return time.perf_counter() - begun, _revision(kube) - before


def _patch(kube: Kube, body: dict[str, Any]) -> Any:
    return kube.request("PATCH", f"{SETS}/web", body, content="application/merge-patch+json")


@contextmanager
def _fresh() -> Iterator[tuple[System, Kube]]:
    with system("--runtime", "simulated") as running:
        kube = running.api
        running.until(lambda: kube.request("GET", "/api/v1/nodes")["items"], "the node is registered", 30)
        yield running, kube


def _say(what: str, seconds: float, writes: int, needed: int, bare: float) -> None:
    line = f"{what:24s} {seconds:7.2f} s   {writes:6d} writes   {needed:6d} needed, bare {needed * bare:6.2f} s"
    line += f"   ratio {seconds / (needed * bare):5.1f}"
    if what in UPSTREAM:
        slow, fast = UPSTREAM[what]
        line += f"   upstream {slow:.1f} s, lifted {fast:.1f} s: {fast / seconds:.2f} times ahead (aim 1.5)"
    print(line, flush=True)


def _ordered(bare: Bare) -> None:
    best: dict[str, tuple[float, int]] = {}
    for _ in range(ROUNDS):
        with _fresh() as (_running, kube):
            steps = {
                "100 OrderedReady": (lambda k=kube: k.request("POST", SETS, manifest("web", 100, "OrderedReady")), _ready(100)),
                "rolling update of 100": (lambda k=kube: _patch(k, OTHER_IMAGE), _ready(100)),
                "100 to 0": (lambda k=kube: _patch(k, {"spec": {"replicas": 0}}), lambda s: s["replicas"] == 0),
            }
            for what, (change, done) in steps.items():
                best[what] = min(best.get(what, (9e9, 0)), _timed(kube, change, done))
    for (what, (seconds, writes)), commits in zip(best.items(), (START, REPLACE, END), strict=True):
        _say(what, seconds, writes, 100 * commits, bare.serial)


def _parallel(bare: Bare, members: int) -> None:
    best = (9e9, 0)
    for _ in range(1 if members > 1000 else ROUNDS):
        with _fresh() as (_running, kube):
            create = lambda k=kube: k.request("POST", SETS, manifest("web", members, "Parallel"))  # noqa: E731
            best = min(best, _timed(kube, create, _ready(members)))
    _say(f"{members} Parallel", *best, members * START, bare.grouped)
    print(f"{'':24s} {best[0] / members * 1000:7.2f} ms a member", flush=True)


def _cpu(pid: int) -> float:
    from bench.scale import cpu

    return cpu(pid)


def _quiet() -> None:
    """Writes that are not the node's own sign of life, and CPU, of a minute in which nothing is asked for."""
    with _fresh() as (running, kube):
        begun = time.perf_counter()
        for number in range(QUIET_SETS):
            kube.request("POST", SETS, manifest(f"s{number}", 3, "Parallel"))
        seen, settled = -1, 0.0
        while settled < 15:
            time.sleep(1)
            now = max(_newest(kube, path) for path in _WATCHED)
            seen, settled = now, settled + 1 if now == seen else 0
        print(f"{QUIET_SETS} sets of 3: at rest {time.perf_counter() - begun - settled:.0f} s after the first create", flush=True)
        pids = [running.pid(role) for role in ("server", "node")]
        used, revision = [_cpu(pid) for pid in pids], _revision(kube)
        time.sleep(QUIET_SECONDS)
        cpus = [f"{(_cpu(pid) - before) / QUIET_SECONDS * 100:.2f} %" for pid, before in zip(pids, used, strict=True)]
        total = _revision(kube) - revision
        newest = max(_newest(kube, path) for path in _WATCHED)
        print(
            f"{QUIET_SECONDS} s at rest: {total} writes in all (Lease and Node), {max(newest - seen, 0)} of the sets' objects;", end=""
        )
        print(f" CPU of a core: server {cpus[0]}, node {cpus[1]}", flush=True)


_WATCHED = (SETS, "/api/v1/namespaces/default/pods", "/apis/apps/v1/namespaces/default/controllerrevisions")


def _newest(kube: Kube, path: str) -> int:
    """The latest revision of an object in a collection."""
    partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    return max(int(i["metadata"]["resourceVersion"]) for i in kube.request("GET", path, accept=partial)["items"])


def main() -> None:
    chosen = sys.argv[2:] or ["ordered", "parallel", "quiet"]
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        bare = asyncio.run(_bare(Path(directory)))
    print(f"bare store: {bare.serial * 1e3:.2f} ms a commit by one writer, {bare.grouped * 1e3:.3f} ms a write by 64", flush=True)
    if "ordered" in chosen:
        _ordered(bare)
    if "parallel" in chosen:
        for members in (100, 1000, 5000):
            _parallel(bare, members)
    if "quiet" in chosen:
        _quiet()


if __name__ == "__main__":
    main()
