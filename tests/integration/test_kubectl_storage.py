"""Claims, volumes and classes as stock kubectl shows them in each state: columns, ``describe``, events (H1 to H10)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubectl import Kubectl
from tests.system import System, kubectl_path

Obj = dict[str, Any]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("storage") / "d")
    running.up("--runtime", "simulated", "--listen", "127.0.0.1:0")
    try:
        yield running
    finally:
        running.reset()


def claim(name: str, size: str = "1Gi", access: str = "ReadWriteOnce", **spec: Any) -> Obj:
    full = {"accessModes": [access], "resources": {"requests": {"storage": size}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": full}


def volume(name: str, size: str = "1Gi", **spec: Any) -> Obj:
    full = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": f"/srv/{name}"}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": full}


def pod(name: str, *claims: str, **spec: Any) -> Obj:
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    full = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes, "terminationGracePeriodSeconds": 1, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": full}


def fields(system: System, kind: str, name: str) -> dict[str, str]:
    """What ``kubectl describe`` says at the left margin."""
    text = system.kubectl("describe", kind, name)
    pairs = (line.partition(":") for line in text.splitlines() if re.match(r"\S[^:]*:", line))
    return {head: value.strip() for head, _, value in pairs}


def row(system: System, kind: str, name: str) -> list[str]:
    return re.split(r"\s{2,}", system.kubectl("get", kind, name, "--no-headers").strip())


def events(system: System, kind: str, name: str) -> list[tuple[str, str, str, str]]:
    """Type, reason, from, message of the events under ``kubectl describe``."""
    text = system.kubectl("describe", kind, name).partition("Events:")[2]
    found = []
    for line in text.splitlines()[3:]:
        parts = re.split(r"\s{2,}", line.strip())
        if len(parts) >= 5:
            found.append((parts[0], parts[1], parts[-2], parts[-1]))
    return found


def until_said(system: System, kind: str, name: str, *wanted: tuple[str, str, str, str]) -> None:
    system.until(lambda: set(wanted) <= set(events(system, kind, name)), f"{kind}/{name} says {wanted}", 30)


def phase(system: System, kind: str, name: str) -> str:
    return str((system.get(kind, name) or {}).get("status", {}).get("phase") or "")


CONTROLLER = "persistentvolume-controller"


def test_h4_a_claim_that_waits_is_bound_and_is_used(system: System) -> None:
    system.create(claim("data"))
    waits = ("Normal", "WaitForFirstConsumer", CONTROLLER, "waiting for first consumer to be created before binding")
    until_said(system, "pvc", "data", waits)
    assert row(system, "pvc", "data")[:2] == ["data", "Pending"]
    told = fields(system, "pvc", "data")
    assert (told["Status"], told["StorageClass"], told["Used By"], told["Access Modes"]) == ("Pending", "standard", "<none>", "")
    system.create(pod("user", "data"))
    system.wait_ready("user")
    name = system.get("pvc", "data")["spec"]["volumeName"]
    assert row(system, "pvc", "data")[:6] == ["data", "Bound", name, "1Gi", "RWO", "standard"]
    told = fields(system, "pvc", "data")
    assert (told["Volume"], told["Used By"], told["Capacity"], told["Access Modes"]) == (name, "user", "1Gi", "RWO")
    assert told["Finalizers"] == "[kubernetes.io/pvc-protection]"
    made = "Waiting for a volume to be created either by the external provisioner 'builtin.holdfast.io'"
    said = {(type, reason, who): message for type, reason, who, message in events(system, "pvc", "data")}
    assert said["Normal", "ExternalProvisioning", CONTROLLER].startswith(made)
    assert said["Normal", "Provisioning", "builtin.holdfast.io"] == (
        'External provisioner is provisioning volume for claim "default/data"'
    )
    assert said["Normal", "ProvisioningSucceeded", "builtin.holdfast.io"] == f"Successfully provisioned volume {name}"
    told = fields(system, "pv", name)
    assert (told["Status"], told["Claim"], told["Reclaim Policy"], told["VolumeMode"]) == (
        "Bound",
        "default/data",
        "Delete",
        "Filesystem",
    )
    assert row(system, "pv", name)[:7] == [name, "1Gi", "RWO", "Delete", "Bound", "default/data", "standard"]


def test_h7_a_used_claim_is_terminating_and_then_its_volume_goes(system: System) -> None:
    name = system.get("pvc", "data")["spec"]["volumeName"]
    system.kubectl("delete", "pvc", "data", "--wait=false")
    assert row(system, "pvc", "data")[1] == "Terminating"
    assert fields(system, "pvc", "data")["Status"].startswith("Terminating (lasts ")
    system.kubectl("delete", "pv", name, "--wait=false")
    assert row(system, "pv", name)[4] == "Terminating"
    assert phase(system, "pod", "user") == "Running"
    system.kubectl("delete", "pod", "user", "--timeout=60s")
    system.wait_gone("pvc/data", f"pv/{name}")


def test_h2_the_default_class_and_none(system: System) -> None:
    assert row(system, "sc", "standard")[0] == "standard (default)"
    told = fields(system, "sc", "standard")
    assert (told["IsDefaultClass"], told["VolumeBindingMode"], told["AllowVolumeExpansion"]) == ("Yes", "WaitForFirstConsumer", "True")
    system.create(claim("none", storageClassName=""))
    why = "no persistent volumes available for this claim and no storage class is set"
    until_said(system, "pvc", "none", ("Normal", "FailedBinding", CONTROLLER, why))
    system.create(claim("strange", storageClassName="strange"))
    lost = ("Warning", "ProvisioningFailed", CONTROLLER, 'storageclass.storage.k8s.io "strange" not found')
    until_said(system, "pvc", "strange", lost)
    system.kubectl("delete", "pvc", "none", "strange")


def test_h1_h6_static_volumes_bind_are_released_and_can_be_given_away_again(system: System) -> None:
    system.create(volume("pv-large", "5Gi", storageClassName="manual"))
    system.create(volume("pv-small", "2Gi", storageClassName="manual"))
    system.wait_field("{.status.phase}", "Available", "pv/pv-large", "pv/pv-small")
    assert row(system, "pv", "pv-small")[:5] == ["pv-small", "2Gi", "RWO", "Retain", "Available"]
    system.create(claim("static", storageClassName="manual"))
    system.wait_field("{.status.phase}", "Bound", "pvc/static")
    assert row(system, "pvc", "static")[1:4] == ["Bound", "pv-small", "2Gi"]
    system.kubectl("delete", "pvc", "static", "--timeout=30s")
    system.wait_field("{.status.phase}", "Released", "pv/pv-small")
    assert row(system, "pv", "pv-small")[4:6] == ["Released", "default/static"]
    system.create(claim("static", storageClassName="manual"))
    system.wait_field("{.spec.volumeName}", "pv-large", "pvc/static")
    system.kubectl("patch", "pv", "pv-small", "--type=merge", "-p", '{"spec":{"claimRef":null}}')
    system.wait_field("{.status.phase}", "Available", "pv/pv-small")
    system.kubectl("delete", "pvc", "static")
    system.kubectl("delete", "pv", "pv-small", "pv-large", "--timeout=30s")


def test_h6_recycled_volumes_fail_and_say_why(system: System) -> None:
    said = system.run(
        "create", "-f", "-", stdin=json.dumps(volume("pv-old", persistentVolumeReclaimPolicy="Recycle", storageClassName="r"))
    )
    assert "Warning: spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated." in said.stderr
    system.create(claim("old", storageClassName="r"))
    system.wait_field("{.status.phase}", "Bound", "pvc/old")
    system.kubectl("delete", "pvc", "old", "--timeout=30s")
    why = "No recycler plugin found for the volume!"
    until_said(system, "pv", "pv-old", ("Warning", "VolumeFailedRecycle", CONTROLLER, why))
    told = fields(system, "pv", "pv-old")
    assert (told["Status"], told["Message"]) == ("Failed", why)
    system.kubectl("delete", "pv", "pv-old", "--timeout=30s")


def test_h8_a_lost_claim(system: System) -> None:
    system.create(volume("pv-lost", storageClassName="l"))
    system.create(claim("lost", storageClassName="l"))
    system.wait_field("{.status.phase}", "Bound", "pvc/lost")
    system.kubectl("delete", "pv", "pv-lost", "--wait=false")
    system.kubectl("patch", "pv", "pv-lost", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    system.wait_field("{.status.phase}", "Lost", "pvc/lost")
    text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    until_said(system, "pvc", "lost", ("Warning", "ClaimLost", CONTROLLER, text))
    assert row(system, "pvc", "lost")[:2] == ["lost", "Lost"]
    system.kubectl("delete", "pvc", "lost", "--timeout=30s")


def _scheduling(system: System, name: str) -> list[str]:
    return [message for _, reason, _, message in events(system, "pod", name) if reason == "FailedScheduling"]


def test_h3_h9_why_a_pod_is_not_scheduled(system: System) -> None:
    system.create(pod("missing", "nothing"))
    away = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["away"]}]}
    affinity = {"required": {"nodeSelectorTerms": [away]}}
    system.create(volume("pv-away", storageClassName="w", nodeAffinity=affinity))
    system.create(claim("away", storageClassName="w"))
    system.create(pod("away", "away"))
    system.create(claim("unbound", storageClassName="x"))
    system.create(pod("unbound", "unbound"))
    mode = {"volumeBindingMode": "WaitForFirstConsumer"}
    system.create(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "by-hand"},
            "provisioner": "kubernetes.io/no-provisioner",
            **mode,
        }
    )
    system.create(claim("by-hand", storageClassName="by-hand"))
    system.create(pod("by-hand", "by-hand"))
    system.create(claim("alone", access="ReadWriteOncePod"))
    system.create(pod("first", "alone"))
    system.wait_ready("first")
    system.create(pod("second", "alone"))
    lead = "0/1 nodes are available: "
    one_pod = "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    for name, why in {
        "missing": 'persistentvolumeclaim "nothing" not found',
        "away": "1 node(s) had volume node affinity conflict",
        "unbound": "pod has unbound immediate PersistentVolumeClaims",
        "by-hand": "1 node(s) didn't find available persistent volumes to bind",
        "second": one_pod,
    }.items():
        system.until(lambda n=name, w=why: f"{lead}{w}." in _scheduling(system, n), f"{name}: {why}", 30)  # type: ignore[misc]
        assert phase(system, "pod", name) == "Pending"
    system.kubectl("delete", "pod", "first", "--timeout=60s")
    system.wait_ready("second")
    system.kubectl("delete", "pod", "missing", "away", "unbound", "by-hand", "second", "--timeout=60s")
    system.kubectl("delete", "pvc", "away", "unbound", "by-hand", "alone", "--timeout=60s")
    system.kubectl("delete", "pv", "pv-away", "--timeout=60s")


def test_h10_a_claim_grows_while_it_is_used(system: System) -> None:
    system.create(claim("grows"))
    system.create(pod("grower", "grows"))
    system.wait_ready("grower")
    name = system.get("pvc", "grows")["spec"]["volumeName"]
    system.kubectl("patch", "pvc", "grows", "-p", '{"spec":{"resources":{"requests":{"storage":"3Gi"}}}}')
    resizer = "external-resizer builtin.holdfast.io"
    until_said(
        system,
        "pvc",
        "grows",
        ("Normal", "Resizing", resizer, f"External resizer is resizing volume {name}"),
        ("Normal", "FileSystemResizeRequired", resizer, "Require file system resize of volume on node"),
    )
    assert system.get("pv", name)["spec"]["capacity"] == {"storage": "3Gi"}
    system.until(lambda: row(system, "pvc", "grows")[3] == "3Gi", "the claim has its new size", 60)
    status = system.get("pvc", "grows")["status"]
    assert "allocatedResourceStatuses" not in status
    assert not status.get("conditions")
    system.kubectl("delete", "pod", "grower", "--timeout=60s")
    system.kubectl("delete", "pvc", "grows", "--timeout=60s")


def test_h17_block_and_ephemeral_volumes_are_shown(system: System) -> None:
    template = {"volumeClaimTemplate": {"spec": claim("x")["spec"]}}
    system.create(pod("short", volumes=[{"name": "scratch", "ephemeral": template}]))
    system.wait_ready("short")
    if Kubectl(kubectl_path(), system, "default").minor >= 23:  # older ones do not look for such claims
        assert fields(system, "pvc", "short-scratch")["Used By"] == "short"
        text = system.kubectl("describe", "pod", "short")
        assert "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)" in text
    system.kubectl("delete", "pod", "short", "--timeout=60s")
    system.wait_gone("pvc/short-scratch")
