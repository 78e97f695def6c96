"""StatefulSets of simulated members: seconds to Ready, through a rolling update and to zero; growth; and a thousand sets at rest.

``holdfast up --runtime simulated``: server with SQLite and fsync at every commit, node and this bench are processes of their own.
A member needs three writes one after the other (pod, binding, Ready) and is gone with three more (deletion, its end, removal).
Each figure is a ratio to what the bare store takes, in this run, for as many commits in groups (64 writers); ordered sets have
a second one, to as many commits one after the other. Seconds are until the set's own status says so; writes are counted from
the revision, events among them; CPU is that of server and node. ``ordered``, ``parallel``, ``growth`` (both policies, 100 to
5,000) and ``quiet`` can be named.
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
from bench.scale import cpu
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
GROWTH = (100, 1000, 5000)
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


@dataclass(frozen=True, order=True)
class Run:
    """``writes`` are the store's, ``server`` and ``node`` seconds of CPU."""

    seconds: float
    writes: int
    server: float
    node: float


def _timed(running: System, change: Callable[[], object], done: Callable[[dict[str, Any]], bool]) -> Run:
    """Until the set ``web`` is as wanted."""
    kube, pids = running.api, [running.pid(role) for role in ("server", "node")]
    before, used = _revision(kube), [cpu(pid) for pid in pids]
    begun = time.perf_counter()
    changed = change()
    assert isinstance(changed, dict)
    generation = changed["metadata"]["generation"]
    for event in kube.watch(SETS, fieldSelector="metadata.name=web", timeoutSeconds="1800"):
        status = event["object"].get("status") or {}
        if status.get("observedGeneration", 0) >= generation and done(status):
            break
    seconds = time.perf_counter() - begun
    return Run(seconds, _revision(kube) - before, *(cpu(pid) - then for pid, then in zip(pids, used, strict=True)))


def _patch(kube: Kube, body: dict[str, Any]) -> Any:
    return kube.request("PATCH", f"{SETS}/web", body, content="application/merge-patch+json")


@contextmanager
def _fresh() -> Iterator[tuple[System, Kube]]:
    with system("--runtime", "simulated") as running:
        kube = running.api
        running.until(lambda: kube.request("GET", "/api/v1/nodes")["items"], "the node is registered", 30)
        yield running, kube


def _say(what: str, run: Run, members: int, commits: int, bare: Bare, *, ordered: bool) -> None:
    needed = members * commits
    print(f"{what:24s} {run.seconds:7.2f} s, {run.seconds / members * 1000:.1f} ms a member; {needed} commits needed", end="")
    print(f", {run.writes} written ({run.writes / members:.1f} a member)", end="")
    print(f"; ratio to bare group commits {run.seconds / (needed * bare.grouped):.1f}", end="")
    print(f", to commits one by one {run.seconds / (needed * bare.serial):.1f}" if ordered else "", flush=True)
    each = [
        f"{name} {used:.2f} s: {used / members * 1e3:.1f} ms a member, {used / run.writes * 1e3:.2f} a write"
        for name, used in (("server", run.server), ("node", run.node))
    ]
    print(f"{'':24s} CPU {'; '.join(each)}")
    if what in UPSTREAM:
        slow, fast = UPSTREAM[what]
        print(f"{'':24s} upstream {slow:.1f} s, lifted {fast:.1f} s: {fast / run.seconds:.2f} times ahead (aim 1.5)", flush=True)


def _ordered(bare: Bare, members: int, rounds: int) -> float:
    """Says all of a life, and gives the seconds to all Ready."""
    best: dict[str, Run] = {}
    for _ in range(rounds):
        with _fresh() as (running, kube):
            create = lambda k=kube: k.request("POST", SETS, manifest("web", members, "OrderedReady"))  # noqa: E731
            steps = {
                f"{members} OrderedReady": (create, _ready(members)),
                f"rolling update of {members}": (lambda k=kube: _patch(k, OTHER_IMAGE), _ready(members)),
                f"{members} to 0": (lambda k=kube: _patch(k, {"spec": {"replicas": 0}}), lambda s: s["replicas"] == 0),
            }
            for what, (change, done) in steps.items():
                found = _timed(running, change, done)
                best[what] = min(best.get(what, found), found)
    for (what, run), commits in zip(best.items(), (START, REPLACE, END), strict=True):
        _say(what, run, members, commits, bare, ordered=True)
    return best[f"{members} OrderedReady"].seconds


def _parallel(bare: Bare, members: int, rounds: int) -> float:
    found = []
    for _ in range(rounds):
        with _fresh() as (running, kube):
            create = lambda k=kube: k.request("POST", SETS, manifest("web", members, "Parallel"))  # noqa: E731
            found.append(_timed(running, create, _ready(members)))
    _say(f"{members} Parallel", min(found), members, START, bare, ordered=False)
    return min(found).seconds


def _growth(bare: Bare) -> None:
    """What a member costs among 100, 1,000 and 5,000."""
    for name, measure in (("OrderedReady", _ordered), ("Parallel", _parallel)):
        each = [measure(bare, members, 1) / members * 1000 for members in GROWTH]
        told = ", ".join(f"{members}: {ms:.1f} ({ms / each[0]:.2f} times)" for members, ms in zip(GROWTH, each, strict=True))
        print(f"growth, {name}, ms a member: {told}", flush=True)


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
        used, revision = [cpu(pid) for pid in pids], _revision(kube)
        time.sleep(QUIET_SECONDS)
        cpus = [f"{(cpu(pid) - before) / QUIET_SECONDS * 100:.2f} %" for pid, before in zip(pids, used, strict=True)]
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
    chosen = (sys.argv[2:] if sys.argv[1:2] == ["statefulset"] else []) or ["ordered", "parallel", "growth", "quiet"]
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        bare = asyncio.run(_bare(Path(directory)))
    print(f"bare store: {bare.serial * 1e3:.2f} ms a commit by one writer, {bare.grouped * 1e3:.3f} ms a write by 64", flush=True)
    if "ordered" in chosen:
        _ordered(bare, 100, ROUNDS)
    if "parallel" in chosen:
        _parallel(bare, 1000, ROUNDS)
    if "growth" in chosen:
        _growth(bare)
    if "quiet" in chosen:
        _quiet()


if __name__ == "__main__":
    main()
