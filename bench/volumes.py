"""Claim and pod created to volume mounted, beside the bare tools on the same disk; the engine alone; many claims at once; growth.

Bar: ratio 1.5. Between claim and mount lie ten writes of the API, each on the disk before the next one begins; the bare
tools wait for none.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.common import system
from holdfast.cli.kube import Kube
from holdfast.lib import privileged
from holdfast.volumes.api import Source, Staging
from holdfast.volumes.builtin import BuiltinEngine
from holdfast.volumes.filesystems import KINDS, MIB
from tests.system import System

ROUNDS = 11
SIZE, GROWN = "300Mi", "400Mi"
IMAGE = 424 * MIB
PODS, EACH = 10, 10
_CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"


def claim(name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": SIZE}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def pod(name: str, claims: list[str]) -> dict[str, Any]:
    mounts = [{"name": claim, "mountPath": f"/{claim}"} for claim in claims]
    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"], "volumeMounts": mounts}
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    spec = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Bare:
    """The same volume by hand: truncate, mkfs, losetup, mount; then larger: truncate, losetup -c, xfs_growfs."""

    def __init__(self, directory: Path) -> None:
        self.image, self.target, self.device = directory / "bare.img", directory / "bare", ""
        self.target.mkdir(parents=True, exist_ok=True)

    def make(self) -> None:
        run("truncate", "-s", str(IMAGE), str(self.image))
        run(*KINDS["xfs"].make, str(self.image))
        self.device = run("losetup", "--find", "--show", str(self.image))
        run("mount", "-o", "nouuid,discard", self.device, str(self.target))

    def grow(self) -> None:
        run("truncate", "-s", str(IMAGE + 128 * MIB), str(self.image))
        run("losetup", "-c", self.device)
        run("xfs_growfs", str(self.target))

    def remove(self) -> None:
        run("umount", str(self.target))
        run("losetup", "-d", self.device)
        self.image.unlink()


def ours(running: System, kube: Kube, name: str) -> float:
    """Seconds from the claim's creation until it is mounted, Bound in between."""
    mounts = running.data / "volumes" / "mounts"

    def make() -> None:
        kube.create(claim(name))
        kube.create(pod(name, [name]))
        watch = kube.watch(_CLAIMS, fieldSelector=f"metadata.name={name}", timeoutSeconds="60")
        volume = next(e["object"]["spec"]["volumeName"] for e in watch if e["object"].get("status", {}).get("phase") == "Bound")
        while not any(point.target == str(mounts / volume) for point in privileged.mount_points()):
            time.sleep(0.001)

    return timed(make)


def alone(engine: BuiltinEngine, directory: Path, handle: str) -> float:
    """Seconds of the engine without an API: created and mounted."""

    async def make() -> None:
        await engine.create(handle, 300 * MIB, {}, {})
        await engine.stage(Source(handle), Staging(str(directory / "alone")))

    async def remove() -> None:
        await engine.unstage(handle, str(directory / "alone"))
        await engine.delete(Source(handle))

    took = timed(lambda: asyncio.run(make()))
    asyncio.run(remove())
    return took


def growth(running: System, kube: Kube, name: str) -> float:
    patch = {"spec": {"resources": {"requests": {"storage": GROWN}}}}

    def grow() -> None:
        kube.request("PATCH", f"{_CLAIMS}/{name}", patch, content="application/merge-patch+json")
        watch = kube.watch(_CLAIMS, fieldSelector=f"metadata.name={name}", timeoutSeconds="60")
        next(e for e in watch if e["object"]["status"].get("capacity", {}).get("storage") == GROWN)

    return timed(grow)


def many(running: System, kube: Kube) -> None:
    names = [[f"m{pod}-{number}" for number in range(EACH)] for pod in range(PODS)]
    begun = time.perf_counter()
    for number, claims in enumerate(names):
        for name in claims:
            kube.create(claim(name))
        kube.create(pod(f"many-{number}", claims))
    wanted = {name for claims in names for name in claims}
    for event in kube.watch(_CLAIMS, timeoutSeconds="300"):
        if event["object"].get("status", {}).get("phase") == "Bound":
            wanted.discard(event["object"]["metadata"]["name"])
        if not wanted:
            break
    bound = time.perf_counter() - begun
    running.wait_ready(*(f"many-{number}" for number in range(PODS)), seconds=300)
    total = time.perf_counter() - begun
    print(f"{PODS * EACH} claims at once: all Bound after {bound:.1f} s, in {PODS} running pods after {total:.1f} s")


def main() -> None:
    with system() as running:
        running.until(lambda: (running.get("nodes") or {}).get("items"), "the node is registered", 30)
        kube, bare = running.api, Bare(running.data / "volumes")
        made: list[tuple[float, float]] = []
        grown: list[tuple[float, float]] = []
        lone: list[tuple[float, float]] = []
        engine = BuiltinEngine(running.data / "bench", trash_hours=0)
        alone(engine, running.data, "first")  # makes the pool
        for number in range(ROUNDS):
            name = f"v{number}"
            took, grew = ours(running, kube, name), 0.0
            made.append((took, timed(bare.make)))
            running.wait_ready(name)
            grew = growth(running, kube, name)
            grown.append((grew, timed(bare.grow)))
            lone.append((alone(engine, running.data, name), made[-1][1]))
            bare.remove()
            running.kubectl("delete", "pod", name)
            running.kubectl("delete", "pvc", name)
            running.until(lambda: not (running.get("pv") or {}).get("items"), "the volume is gone", 30)
        for what, pairs in (("made and mounted", made), ("by the engine alone", lone), ("grown by 100 MiB", grown)):
            one, other = (statistics.median(pair[side] for pair in pairs) * 1e3 for side in (0, 1))
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"{what}: {one:.0f} ms, bare tools {other:.0f} ms; ratio {ratio:.2f}" + (", bar 1.5" if pairs is made else ""))
        asyncio.run(engine.close())
        many(running, kube)


if __name__ == "__main__":
    main()
