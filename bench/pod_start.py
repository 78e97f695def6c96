"""Create request to Running, beside bare ``runc run`` of the same image in a namespace of its own. Bar: ratio 2 at the median."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import system
from holdfast.node.images import ImageStore

ROUNDS = 15


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"], "imagePullPolicy": "IfNotPresent"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def bare(layers: tuple[str, ...], directory: Path, number: int) -> float:
    """Seconds from nothing to a running process: netns, veth-less, overlay, runc run -d; then removed again."""
    name = f"holdfast-bench-{number}"
    bundle = directory / name
    for part in ("rootfs", "upper", "work"):
        (bundle / part).mkdir(parents=True)
    subprocess.run(["runc", "spec", "--bundle", str(bundle)], check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"].update(terminal=False, args=["/bin/sleep", "3600"])
    spec["root"]["readonly"] = False
    for namespace in spec["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = f"/run/netns/{name}"
    (bundle / "config.json").write_text(json.dumps(spec))
    begun = time.perf_counter()
    subprocess.run(["ip", "netns", "add", name], check=True)
    lower = ":".join(reversed(layers))
    options = f"lowerdir={lower},upperdir={bundle}/upper,workdir={bundle}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(bundle / "rootfs")], check=True)
    subprocess.run(
        ["runc", "run", "-d", "--bundle", str(bundle), name], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    took = time.perf_counter() - begun
    subprocess.run(["runc", "delete", "-f", name], check=True)
    subprocess.run(["umount", str(bundle / "rootfs")], check=True)
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return took


def main() -> None:
    with system() as running, tempfile.TemporaryDirectory() as scratch:
        image = ImageStore(running.data).find("busybox")
        assert image, "busybox is always there"
        kube = running.api
        ours, bares = [], []
        for number in range(ROUNDS):
            name = f"p{number}"
            watch = kube.watch("/api/v1/namespaces/default/pods", fieldSelector=f"metadata.name={name}", timeoutSeconds="60")
            begun = time.perf_counter()
            kube.create(pod(name))
            for event in watch:
                if event["object"].get("status", {}).get("phase") == "Running":
                    break
            ours.append(time.perf_counter() - begun)
            kube.request("DELETE", f"/api/v1/namespaces/default/pods/{name}")
            running.until(lambda n=name: running.get("pod", n) is None, "pod is gone", 30)  # type: ignore[misc]
            bares.append(bare(image.layers, Path(scratch), number))
        ratio = statistics.median(a / b for a, b in zip(ours, bares, strict=True))
        pods, runcs = statistics.median(ours) * 1e3, statistics.median(bares) * 1e3
        print(f"pod {pods:.0f} ms, bare runc {runcs:.0f} ms; ratio {ratio:.2f}, bar 2")
