"""Create request to Running, beside bare ``runc run`` with the same namespace, mounts and image. Bar: ratio 2 at the median."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import system
from holdfast.lib import privileged
from holdfast.node.images import ImageStore
from holdfast.node.network import links, namespaces
from holdfast.system.settings import Settings
from tests.system import System

ROUNDS = 15


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"], "imagePullPolicy": "IfNotPresent"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def bare(running: System, template: Path, layers: tuple[str, ...], directory: Path, number: int) -> float:
    """Seconds of the bare cost: network namespace with its link, overlay and ``runc run -d`` of the same configuration."""
    name = f"holdfast-bench-{number}"
    bundle = directory / name
    for part in ("rootfs", "upper", "work"):
        (bundle / part).mkdir(parents=True)
    settings = Settings(running.data)
    node, pod = settings.run / "netns" / "node", bundle / "netns"
    spec = json.loads((template / "config.json").read_text())
    for namespace in spec["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = str(pod)
    spec["linux"]["cgroupsPath"] = f"/{name}"
    (bundle / "config.json").write_text(json.dumps(spec))
    begun = time.perf_counter()
    namespaces.create(pod)
    namespaces.visit(str(node), lambda: links.plug(f"hf{settings.instance_id}", name[-12:], str(pod)))
    namespaces.visit(str(pod), lambda: links.setup_pod("10.244.0.250", "10.244.0.1"))
    options = f"lowerdir={':'.join(reversed(layers))},upperdir={bundle}/upper,workdir={bundle}/work"
    privileged.mount("overlay", bundle / "rootfs", "overlay", options=options)
    command = ["runc", "run", "-d", "--bundle", str(bundle), name]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - begun
    subprocess.run(["runc", "delete", "-f", name], check=True)
    privileged.unmount(bundle / "rootfs")
    namespaces.visit(str(node), lambda: links.unplug(name[-12:]))
    namespaces.remove(pod)
    return took


def main() -> None:
    with system() as running, tempfile.TemporaryDirectory() as scratch:
        running.until(lambda: (running.get("nodes") or {}).get("items"), "the node is registered", 30)
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
            template = next((running.data / "node" / "instances").iterdir())
            bares.append(bare(running, template, image.layers, Path(scratch), number))
            kube.request("DELETE", f"/api/v1/namespaces/default/pods/{name}")
            running.until(lambda n=name: running.get("pod", n) is None, "pod is gone", 30)  # type: ignore[misc]
        ratio = statistics.median(a / b for a, b in zip(ours, bares, strict=True))
        pods, runcs = statistics.median(ours) * 1e3, statistics.median(bares) * 1e3
        print(f"pod {pods:.0f} ms, bare runc {runcs:.0f} ms; ratio {ratio:.2f}, bar 2")
