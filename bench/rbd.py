"""A claim of class rbd created to its image mounted, beside the bare commands on the same Ceph: rbd create, the daemon, mkfs, mount."""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.common import system
from bench.volumes import ours, run, timed
from tests.ceph import POOL, USER, Ceph, running_ceph

ROUNDS = 9


class Bare:
    """The same by hand, with the same daemon; it is given up to a second to show the image, looked for all the time."""

    def __init__(self, directory: Path, ceph: Ceph) -> None:
        self.directory, self.ceph, self.target, self.image = directory, ceph, directory / "bare", directory / "image"
        self.target.mkdir()
        self.image.touch()
        self.device = ""

    def make(self, name: str) -> None:
        common = ("-c", str(self.ceph.root / "ceph.conf"), "--keyring", self.ceph.keyring(USER), "--id", USER)
        run("rbd", *common, "create", "--pool", POOL, "--image", name, "--size", "300M", "--image-feature", "layering")
        conf = str(self.ceph.root / "bare.conf")
        Path(conf).write_text(f"[global]\nmon_host = {self.ceph.monitor}\nkeyring = {self.ceph.keyring(USER)}\n")
        node = {"driver": "rbd", "node-name": "n", "pool": POOL, "image": name, "user": USER, "conf": conf, "discard": "unmap"}
        shown = {"type": "fuse", "id": "f", "node-name": "n", "mountpoint": str(self.image), "writable": True}
        daemon = ("qemu-storage-daemon", "--daemonize", "--pidfile", str(self.directory / "pid"))
        run(*daemon, "--blockdev", json.dumps(node), "--export", json.dumps(shown))
        self.device = run("losetup", "--direct-io=on", "--find", "--show", str(self.image))
        run("mkfs.ext4", "-q", "-F", "-m0", self.device)
        run("mount", self.device, str(self.target))

    def remove(self) -> None:
        run("umount", str(self.target))
        run("losetup", "-d", self.device)
        run("kill", (self.directory / "pid").read_text().strip())


def rbd_class(ceph: Ceph) -> dict[str, Any]:
    secret = {"adminSecretName": "ceph", "userSecretName": "ceph", "userSecretNamespace": "default"}
    parameters = {"monitors": ceph.monitor, "pool": POOL, "adminId": USER, "imageFeatures": "layering", **secret}
    metadata = {"name": "rbd", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    named = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata}
    return {**named, "provisioner": "kubernetes.io/rbd", "volumeBindingMode": "Immediate", "parameters": parameters}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, running_ceph(Path(scratch) / "c") as ceph, system() as running:
        running.until(lambda: (running.get("nodes") or {}).get("items"), "the node is registered", 30)
        running.kubectl("create", "secret", "generic", "ceph", f"--from-literal=key={ceph.key(USER)}")
        running.create(rbd_class(ceph))
        kube, bare, pairs = running.api, Bare(Path(scratch), ceph), list[tuple[float, float]]()
        for number in range(ROUNDS):
            name = f"v{number}"
            took = ours(running, kube, name)
            pairs.append((took, timed(lambda name=name: bare.make(name))))  # type: ignore[misc]
            bare.remove()
            running.wait_ready(name)
            running.kubectl("delete", "pod", name)
            running.kubectl("delete", "pvc", name)
        one, other = (statistics.median(pair[side] for pair in pairs) * 1e3 for side in (0, 1))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"rbd claim to mounted: {one:.0f} ms, bare commands {other:.0f} ms; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
