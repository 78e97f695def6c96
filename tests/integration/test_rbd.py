"""Ceph RBD as the tutorial writes it: its Pod, PersistentVolume, claim and StatefulSet, on a real server, node and Ceph."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ceph import POOL, USER, Ceph
from tests.system import ROOT, System

EXAMPLES = ROOT / "examples" / "ceph"


@pytest.fixture(scope="module")
def cluster(system: System, ceph: Ceph) -> Iterator[Ceph]:
    system.holdfast("image", "build", str(EXAMPLES / "pause.image.yaml"), "--data", str(system.data))
    system.kubectl("create", "secret", "generic", "ceph-kube", f"--from-literal=key={ceph.key(USER)}", "-n", "kube-system")
    system.create(manifest(ceph, "storageclass.yaml"))
    yield ceph
    system.until(lambda: not records(system), "every image is let go of", 30)


def manifest(ceph: Ceph, name: str) -> dict[str, Any]:
    """An example with the addresses of the test's cluster."""
    text = (EXAMPLES / name).read_text().replace("127.0.0.1:6789", ceph.monitor)
    loaded: dict[str, Any] = yaml.safe_load(text.replace("/etc/ceph/keyring", ceph.keyring(USER)))
    return loaded


def rbd_pod(ceph: Ceph, name: str, script: str, image: str, *, read_only: bool = False, **rbd: Any) -> dict[str, Any]:
    source = {"monitors": [ceph.monitor], "pool": POOL, "image": image, "user": USER, "keyring": ceph.keyring(USER)}
    volume = {"name": "v", "rbd": {**source, "readOnly": read_only, **rbd}}
    mounts = [{"name": "v", "mountPath": "/v"}]
    container = {"name": "c", "image": "busybox", "command": ["sh", "-c", script], "volumeMounts": mounts}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], "volumes": [volume]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def records(system: System) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in (system.data / "volumes" / "rbd").glob("*/record.json")]


def events(system: System, pod: str) -> str:
    return " ".join(system.kubectl("get", "events", "--field-selector", f"involvedObject.name={pod}", "-o", "wide").split())


def ended(system: System, name: str) -> str:
    system.until(lambda: system.get("pod", name)["status"].get("phase") in ("Succeeded", "Failed"), f"{name} ends", 60)
    said = system.kubectl("logs", name)
    assert system.get("pod", name)["status"]["phase"] == "Succeeded", said
    system.kubectl("delete", "pod", name)
    return said


def test_the_tutorials_pod_volume_and_claim(system: System, cluster: Ceph) -> None:
    system.create(rbd_pod(cluster, "first", "echo '<h1>from the image</h1>' > /v/index.html", "foo", fsType="ext4"))
    ended(system, "first")
    system.create(manifest(cluster, "pod.yaml"))
    system.wait_ready("rbd")
    assert system.kubectl("exec", "rbd", "--", "cat", "/mnt/rbd/index.html") == "<h1>from the image</h1>\n"
    assert "Read-only file system" in system.kubectl("exec", "rbd", "--", "touch", "/mnt/rbd/x", check=False)
    for name in ("pv.yaml", "pvc.yaml", "pv-pod.yaml"):
        system.create(manifest(cluster, name))
    system.wait_ready("pv-pod")
    assert len(records(system)) == 1, "one image, one daemon, whoever uses it"
    page = "busybox wget -qO- http://127.0.0.1 2>/dev/null || cat /usr/share/nginx/html/index.html"
    assert "from the image" in system.kubectl("exec", "pv-pod", "--", "sh", "-c", page)
    volume = system.get("pv", "pv-volume")
    assert volume["status"]["phase"] == "Bound"
    assert volume["spec"]["claimRef"]["name"] == "pv-claim"
    assert '"image":"kube/' in volume["metadata"]["annotations"]["holdfast.io/storage"]
    system.kubectl("delete", "pod", "rbd", "pv-pod")
    system.kubectl("delete", "pvc", "pv-claim")
    system.kubectl("delete", "pv", "pv-volume")
    assert records(system) == []
    cluster.rbd("info", f"{POOL}/foo")


def test_what_the_tutorial_writes_and_the_api_does_not_know(system: System, cluster: Ceph) -> None:
    pod = manifest(cluster, "pod.yaml")
    pod["metadata"]["name"] = "strict"
    pod["spec"]["volumes"][0]["rbd"] |= {"imageformat": "2", "imagefeatures": "layering"}
    text = json.dumps(pod)
    refused = system.kubectl("create", "-f", "-", stdin=text, check=False)
    assert re.search(r'unknown field "(spec\.volumes\[0\]\.rbd\.)?imagefeatures"', refused), refused
    system.kubectl("create", "--validate=false", "-f", "-", stdin=text)
    system.wait_ready("strict")
    system.kubectl("delete", "pod", "strict")


def test_a_stateful_set_over_the_class(system: System, cluster: Ceph) -> None:
    service = (ROOT / "examples" / "tutorial" / "service.yaml").read_text()
    system.kubectl("create", "-f", "-", stdin=service)
    system.create(manifest(cluster, "statefulset.yaml"))
    system.wait_ready("web-0", "web-1")
    for name in ("web-0", "web-1"):
        system.kubectl("exec", name, "--", "sh", "-c", "echo hello $(hostname) > /usr/share/nginx/html/index.html; sync")
    claim = system.get("pvc", "www-web-0")
    volume = system.get("pv", claim["spec"]["volumeName"])
    rbd = volume["spec"]["rbd"]
    assert (rbd["pool"], rbd["image"], rbd["user"], rbd["fsType"]) == (POOL, claim["spec"]["volumeName"], USER, "xfs")
    assert rbd["secretRef"] == {"name": "ceph-kube", "namespace": "kube-system"}
    assert "nodeAffinity" not in volume["spec"]
    # The daemons live through the node's death; the data through the pods'.
    before = {record["image"]: record["pid"] for record in records(system)}
    system.kill("node")
    system.up()
    system.wait_ready("web-0", "web-1")
    assert {record["image"]: record["pid"] for record in records(system)} == before
    system.kubectl("delete", "pod", "web-0", "web-1")
    system.wait_ready("web-0", "web-1")
    for name in ("web-0", "web-1"):
        assert system.kubectl("exec", name, "--", "cat", "/usr/share/nginx/html/index.html") == f"hello {name}\n"
    grown(system)
    killed_daemon(system)
    system.kubectl("delete", "statefulset", "web")
    system.kubectl("delete", "service", "nginx")
    system.until(lambda: system.get("pod", "web-0") is None and system.get("pod", "web-1") is None, "the set is gone", 60)
    system.kubectl("delete", "pvc", "www-web-0", "www-web-1")
    system.until(lambda: not system.get("pv"), "the volumes go with their claims", 60)
    assert "pvc-" not in cluster.rbd("ls", POOL)


def grown(system: System) -> None:
    """In use, by a pod that goes on running."""
    started = system.get("pod", "web-0")["status"]["containerStatuses"][0]["containerID"]
    system.kubectl("patch", "pvc", "www-web-0", "-p", '{"spec":{"resources":{"requests":{"storage":"600Mi"}}}}')
    system.until(lambda: system.get("pvc", "www-web-0")["status"]["capacity"]["storage"] == "600Mi", "the claim has grown", 60)
    room = int(system.kubectl("exec", "web-0", "--", "df", "-m", "/usr/share/nginx/html").splitlines()[-1].split()[1])
    assert room > 500
    assert system.get("pod", "web-0")["status"]["containerStatuses"][0]["containerID"] == started


def killed_daemon(system: System) -> None:
    """The member that lost its volume is restarted on it; the other one goes on."""
    image = system.get("pvc", "www-web-0")["spec"]["volumeName"]
    other = system.get("pod", "web-1")["status"]["containerStatuses"][0]["containerID"]
    os.kill(next(record["pid"] for record in records(system) if record["image"] == image), signal.SIGKILL)
    system.until(lambda: system.get("pod", "web-0")["status"]["containerStatuses"][0]["restartCount"] > 0, "it is restarted", 60)
    system.wait_ready("web-0")
    assert system.kubectl("exec", "web-0", "--", "cat", "/usr/share/nginx/html/index.html") == "hello web-0\n"
    system.kubectl("exec", "web-0", "--", "touch", "/usr/share/nginx/html/writable")
    assert "has ended by itself" in events(system, "web-0")
    assert system.get("pod", "web-1")["status"]["containerStatuses"][0]["containerID"] == other


def test_failures_are_told_on_the_pod(system: System, cluster: Ceph) -> None:
    with cluster.stopped("mon.a"):
        system.create(rbd_pod(cluster, "patient", "true", "foo", read_only=True))
        away = "let client.kube in|no monitor of the Ceph cluster answers"
        system.until(lambda: any(text in events(system, "patient") for text in away.split("|")), "the silence is told", 30)
    ended(system, "patient")
    system.create(rbd_pod(cluster, "nowhere", "true", "none"))
    system.until(lambda: "there is no image none in pool kube" in events(system, "nowhere"), "the missing image is told", 20)
    system.create(rbd_pod(cluster, "secretless", "true", "foo", secretRef={"name": "none"}))
    system.until(lambda: 'secret "default/none" not found' in events(system, "secretless"), "the missing secret is told", 20)
    files = rbd_pod(cluster, "files", "true", "none")
    files["spec"]["volumes"] = [{"name": "v", "nfs": {"server": "127.0.0.1", "path": "/nothing"}}]
    system.create(files)
    # By a kernel without a client, from a server that is not there, or without the package nfs-common.
    told = ("127.0.0.1:/nothing cannot be mounted", "mount.nfs")
    system.until(lambda: any(text in events(system, "files") for text in told), "what NFS lacks is told", 60)
    system.kubectl("delete", "pod", "nowhere", "secretless", "files")


def test_an_image_in_use_elsewhere_is_not_mounted(system: System, cluster: Ceph, tmp_path: Path) -> None:
    import asyncio

    from holdfast.volumes.api import Source, Staging
    from holdfast.volumes.rbd import RbdEngine

    cluster.image("shared")
    elsewhere = RbdEngine(tmp_path / "node")
    attributes = {"monitors": cluster.monitor, "pool": POOL, "image": "shared", "user": USER, "keyring": cluster.keyring(USER)}
    staging = Staging(str(tmp_path / "mounted"))
    asyncio.run(elsewhere.stage(Source("shared", attributes), staging))
    system.create(rbd_pod(cluster, "second", "echo x > /v/f", "shared"))
    system.until(lambda: "rbd image kube/shared is still being used by" in events(system, "second"), "who has it is told", 30)
    assert system.get("pod", "second")["status"]["phase"] == "Pending"
    asyncio.run(elsewhere.unstage("shared", staging.target))
    ended(system, "second")


def test_down_lets_go_of_images_and_up_takes_them_again(system: System, cluster: Ceph) -> None:
    cluster.image("lasting")
    pod = rbd_pod(cluster, "lasting", "date >> /v/starts; sync; sleep 3600", "lasting")
    pod["spec"]["restartPolicy"] = "Always"
    system.create(pod)
    system.wait_ready("lasting")
    system.down()
    assert records(system) == []
    assert cluster.watchers("lasting") == []
    system.up()
    system.wait_ready("lasting")
    system.until(lambda: len(system.kubectl("exec", "lasting", "--", "cat", "/v/starts").splitlines()) == 2, "it began twice", 20)
    system.kubectl("delete", "pod", "lasting")
