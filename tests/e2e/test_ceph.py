"""Two nodes and one image: a node that is lost while its pod goes on writing is cut off before the other node's pod begins."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.lib import kubeconfig, pki, privileged
from holdfast.system.settings import Settings
from tests.ceph import POOL, USER, Ceph
from tests.system import System

SECOND = "second"


@pytest.fixture(scope="module")
def second(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A second node of the same cluster, on this machine: its directory holds the keys that an administrator would give it."""
    settings = Settings(tmp_path_factory.mktemp("second") / "d", node_name=SECOND)
    address = kubeconfig.load(system.data / "kubeconfig").server
    ca = pki.load(system.data / "pki", "ca")
    (settings.data / "node").mkdir(parents=True)
    identity = pki.issue_client(ca, f"system:node:{SECOND}", ["system:nodes"])
    kubeconfig.write(settings.node_kubeconfig, kubeconfig.Kubeconfig(address, ca.certificate, identity), user="node")
    pki.save(settings.data / "node" / "pki", "serving", pki.issue_server(ca, f"system:node:{SECOND}", ["127.0.0.1", SECOND]))
    pki.write_private(settings.data / "node" / "pki" / "ca.crt", ca.certificate)
    command = [sys.executable, "-m", "holdfast.cli.main", "node", "--data", str(settings.data), "--node-name", SECOND]
    with (settings.data / "node.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        system.until(lambda: system.get("node", SECOND), (settings.data / "node.log").read_text() + "it registers", 60)
        yield System(settings.data)
    finally:
        (settings.data / "run" / "down").touch()
        process.terminate()
        process.wait(60)
        assert not privileged.mounts_below(settings.data), "it lets go of all it has"
        shutil.rmtree(settings.run, ignore_errors=True)


def pod(name: str, node: str, script: str) -> dict[str, Any]:
    mounts = [{"name": "v", "mountPath": "/v"}]
    container = {"name": "c", "image": "busybox", "command": ["sh", "-c", script], "volumeMounts": mounts}
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container], "volumes": [volume]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def claimed(system: System, ceph: Ceph) -> str:
    """A claim of the class; the image's name."""
    system.kubectl("create", "secret", "generic", "ceph", f"--from-literal=key={ceph.key(USER)}")
    names = {"adminSecretName": "ceph", "userSecretName": "ceph", "userSecretNamespace": "default"}
    parameters = {"monitors": ceph.monitor, "pool": POOL, "adminId": USER, "imageFeatures": "layering", **names}
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "rbd"}}
    system.create({**kind, "provisioner": "kubernetes.io/rbd", "parameters": parameters})
    spec = {"storageClassName": "rbd", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "128Mi"}}}
    system.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec})
    system.until(lambda: system.get("pvc", "data")["status"]["phase"] == "Bound", "the claim is bound", 30)
    return str(system.get("pvc", "data")["spec"]["volumeName"])


def test_a_lost_node_is_cut_off_before_another_writes(system: System, second: System, ceph: Ceph) -> None:
    image = claimed(system, ceph)
    nodes = [node["metadata"]["name"] for node in system.get("nodes")["items"]]
    here = next(name for name in nodes if name != SECOND)
    system.create(pod("owner", here, "while true; do date >> /v/log; sync; sleep 0.1; done"))
    system.wait_ready("owner")
    system.until(lambda: system.kubectl("exec", "owner", "--", "cat", "/v/log").count("\n") > 3, "it writes", 30)
    (client,) = ceph.watchers(image)
    system.create(pod("heir", SECOND, "cat /v/log; date >> /v/heir; sync; sleep 3600"))
    system.until(lambda: "Multi-Attach error" in system.kubectl("describe", "pod", "heir"), "the second node is refused", 30)
    node = system.pid("node")
    os.kill(node, signal.SIGSTOP)  # lost to us; its pod and its daemon go on
    try:
        system.kubectl("delete", "pod", "owner", "--force", "--grace-period=0")
        system.wait_ready("heir")
        assert client in ceph.ceph("osd", "blocklist", "ls")
        assert len(ceph.watchers(image)) == 1
        assert client not in ceph.watchers(image)
        assert system.kubectl("exec", "heir", "--", "cat", "/v/log").count("\n") > 3
        log = json.loads(next((system.data / "volumes" / "rbd").glob("*/record.json")).read_text())
        with pytest.raises(OSError, match=r"Input/output error|Read-only"):
            write(Path(log["targets"][0]) / "data" / "late")
    finally:
        os.kill(node, signal.SIGCONT)
    system.until(lambda: not list((system.data / "volumes" / "rbd").glob("*/record.json")), "the first node lets go", 60)
    assert system.kubectl("exec", "heir", "--", "ls", "/v").split() == ["heir", "log"]
    system.kubectl("delete", "pod", "heir")
    system.kubectl("delete", "pvc", "data")
    system.until(lambda: image not in ceph.rbd("ls", POOL), "the image goes with its claim", 60)


def write(path: Path) -> None:
    with path.open("w") as file:
        file.write("late")
        file.flush()
        os.fsync(file.fileno())
