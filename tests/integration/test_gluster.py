"""GlusterFS volumes against a real one with three replicas: in a pod, in a PersistentVolume, and when its client is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gluster import Gluster, running_gluster
from tests.system import System

MOUNT = [{"name": "v", "mountPath": "/v"}]


@pytest.fixture(scope="module")
def gluster(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gluster]:
    with running_gluster(tmp_path_factory.mktemp("gluster") / "g") as running:
        subsets = [{"addresses": [{"ip": running.server}], "ports": [{"port": 1}]}]
        system.create({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "gluster"}, "subsets": subsets})
        yield running
        system.until(lambda: not clients(system), "every mount is let go of", 30)


def clients(system: System, volume: str = "") -> list[int]:
    """Pids of the clients that serve the node's mounts, or that of one volume."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if words.startswith(b"/usr/sbin/glusterfs\0") and os.fsencode(system.data / "volumes" / "mounts" / volume) in words:
            found.append(int(entry.name))
    return found


def pod(name: str, script: str, source: dict[str, Any], policy: str = "Never") -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "command": ["sh", "-c", script], "volumeMounts": MOUNT}
    spec = {"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {**spec, "volumes": [{"name": "v", **source}]}}


def inline(path: str = "vol", endpoints: str = "gluster", *, read_only: bool = False) -> dict[str, Any]:
    return {"glusterfs": {"endpoints": endpoints, "path": path, "readOnly": read_only}}


def events(system: System, name: str) -> str:
    return " ".join(system.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "wide").split())


def test_what_pods_write_is_on_every_replica(system: System, gluster: Gluster) -> None:
    system.create(pod("writer", "echo from a pod > /v/f", inline()))
    system.until(lambda: system.get("pod", "writer")["status"].get("phase") == "Succeeded", "it has written", 60)
    assert [(brick / "f").read_text() for brick in gluster.bricks] == ["from a pod\n"] * 3
    system.create(pod("reader", "cat /v/f; touch /v/g || echo cannot", inline(read_only=True)))
    system.until(lambda: system.get("pod", "reader")["status"].get("phase") == "Succeeded", "it has read", 60)
    assert system.kubectl("logs", "reader").splitlines()[0] == "from a pod"
    assert "cannot" in system.kubectl("logs", "reader")
    system.kubectl("delete", "pod", "writer", "reader")


def test_a_persistent_volume_is_shared_and_outlives_node_and_client(system: System, gluster: Gluster) -> None:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "shared",
        **inline(),
        "claimRef": {"namespace": "default", "name": "shared"},
    }
    system.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "shared"}, "spec": spec})
    wanted = {"accessModes": ["ReadWriteMany"], "storageClassName": "shared", "resources": {"requests": {"storage": "1Gi"}}}
    system.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared"}, "spec": wanted})
    for name in ("one", "two"):
        script = "echo $HOSTNAME began >> /v/$HOSTNAME; sleep 3600"
        system.create(pod(name, script, {"persistentVolumeClaim": {"claimName": "shared"}}, "Always"))
    system.wait_ready("one", "two")
    (client,) = clients(system, "shared")
    assert system.kubectl("exec", "two", "--", "cat", "/v/one") == "one began\n"
    system.kill("node")
    system.up()
    system.wait_ready("one", "two")
    assert clients(system, "shared") == [client]
    os.kill(client, signal.SIGKILL)

    def restarted(name: str) -> bool:
        return bool(system.get("pod", name)["status"]["containerStatuses"][0]["restartCount"])

    system.until(lambda: restarted("one") and restarted("two"), "both are restarted", 60)
    system.wait_ready("one", "two")
    assert system.kubectl("exec", "two", "--", "cat", "/v/one") == "one began\n" * 2
    assert "has ended" in events(system, "one")
    system.kubectl("delete", "pod", "one", "two")
    system.kubectl("delete", "pvc", "shared")
    system.kubectl("delete", "pv", "shared")


def test_what_is_missing_is_told(system: System, gluster: Gluster) -> None:
    system.create(pod("nowhere", "true", inline(endpoints="none")))
    system.create(pod("nothing", "true", inline(path="none")))
    told = 'endpoints "default/none" not found or empty'
    system.until(lambda: told in events(system, "nowhere"), "the missing servers are told", 20)
    system.until(lambda: f"{gluster.server}:none cannot be mounted" in events(system, "nothing"), "the missing volume is told", 40)
    system.kubectl("delete", "pod", "nowhere", "nothing")
