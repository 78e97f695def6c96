"""Volumes as pods see them: what they hold, who owns it, who may write, and what happens when they are given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system import System


def pod(name: str, script: str, volumes: list[dict[str, Any]], mounts: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "command": ["sh", "-c", script], "volumeMounts": mounts}
    body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": body}


def said(system: System, manifest: dict[str, Any]) -> list[str]:
    """What the pod prints until it ends well."""
    name = manifest["metadata"]["name"]
    system.create(manifest)
    system.until(lambda: system.get("pod", name)["status"].get("phase") in ("Succeeded", "Failed"), f"{name} ends", 30)
    lines = system.kubectl("logs", name).splitlines()
    assert system.get("pod", name)["status"]["phase"] == "Succeeded", lines
    system.kubectl("delete", "pod", name)
    return lines


def claim(name: str, size: str = "300Mi", **spec: Any) -> dict[str, Any]:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": body}


def uses(name: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"name": "v", "persistentVolumeClaim": {"claimName": name, "readOnly": read_only}}


MOUNT = [{"name": "v", "mountPath": "/v"}]


def test_config_map_and_secret(system: System) -> None:
    system.kubectl("create", "configmap", "m", "--from-literal=k=one", "--from-literal=other=two")
    system.kubectl("create", "secret", "generic", "s", "--from-literal=password=pw")
    volumes = [
        {"name": "m", "configMap": {"name": "m", "items": [{"key": "k", "path": "deep/k"}]}},
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
    ]
    mounts = [{"name": "m", "mountPath": "/m"}, {"name": "s", "mountPath": "/s", "readOnly": True}]
    script = "cat /m/deep/k; echo; ls /m; cat /s/password; echo; stat -Lc %a /s/password; grep -c ' /s tmpfs ro' /proc/mounts"
    assert said(system, pod("files", script, volumes, mounts)) == ["one", "deep", "pw", "400", "1"]


def test_a_changed_config_map_reaches_the_running_pod(system: System) -> None:
    system.kubectl("create", "configmap", "live", "--from-literal=k=before")
    system.create(pod("reader", "sleep 3600", [{"name": "v", "configMap": {"name": "live"}}], MOUNT))
    system.wait_ready("reader")
    assert system.kubectl("exec", "reader", "--", "cat", "/v/k") == "before"
    system.kubectl("patch", "configmap", "live", "-p", '{"data":{"k":"after"}}')
    system.until(lambda: system.kubectl("exec", "reader", "--", "cat", "/v/k") == "after", "the file has changed", 60)
    system.kubectl("delete", "pod", "reader")


def test_empty_directories_are_shared_and_owned_by_the_group(system: System) -> None:
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "fast", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]
    mounts = [*MOUNT, {"name": "fast", "mountPath": "/fast"}]
    script = "cat /v/made; stat -c '%a %g' /v; dd if=/dev/zero of=/fast/x bs=1k count=2000 2>/dev/null || echo full"
    first = {"name": "i", "image": "busybox", "command": ["sh", "-c", "echo hello > /v/made"], "volumeMounts": MOUNT}
    context = {"runAsUser": 1000, "fsGroup": 2000}
    lines = said(system, pod("shared", script, volumes, mounts, initContainers=[first], securityContext=context))
    assert lines == ["hello", "2777 2000", "full"]


def test_sub_paths(system: System) -> None:
    mounts = [{"name": "v", "mountPath": "/a", "subPath": "one/two"}, {"name": "v", "mountPath": "/all"}]
    assert said(system, pod("sub", "echo x > /a/f; ls /all/one/two", [{"name": "v", "emptyDir": {}}], mounts)) == ["f"]


def test_host_paths_are_checked(system: System, tmp_path: Path) -> None:
    system.kubectl("label", "namespace", "default", "pod-security.kubernetes.io/enforce=privileged")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "f").write_text("from the host\n")
    volume = {"name": "v", "hostPath": {"path": str(tmp_path / "there"), "type": "Directory"}}
    assert said(system, pod("host", "cat /v/f", [volume], MOUNT)) == ["from the host"]
    volume["hostPath"]["path"] = str(tmp_path / "none")  # type: ignore[index]
    system.create(pod("nowhere", "true", [volume], MOUNT))

    def told() -> bool:
        return "hostPath type check failed" in system.kubectl("get", "events", "--field-selector", "reason=FailedMount")

    system.until(told, "the event names the missing directory", 20)
    system.kubectl("delete", "pod", "nowhere")
    system.kubectl("label", "namespace", "default", "pod-security.kubernetes.io/enforce-")


def test_a_local_volume_is_bound_by_class_size_and_mode(system: System, tmp_path: Path) -> None:
    node = system.get("nodes")["items"][0]["metadata"]["name"]
    for name, size in (("small", "1Gi"), ("large", "5Gi")):
        (tmp_path / name).mkdir()
        here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "by-hand",
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(tmp_path / name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
        }
        system.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    system.create(claim("local", "2Gi", storageClassName="by-hand"))
    system.until(lambda: system.get("pvc", "local")["status"]["phase"] == "Bound", "the claim is bound", 10)
    assert system.get("pvc", "local")["spec"]["volumeName"] == "large"
    said(system, pod("writer", "echo kept > /v/f", [uses("local")], MOUNT))
    assert (tmp_path / "large" / "f").read_text() == "kept\n"
    (tmp_path / "large").rename(tmp_path / "away")
    (tmp_path / "large").mkdir()
    system.create(pod("wrong", "true", [uses("local")], MOUNT))
    missed = "is not the directory that this volume was first used with"
    system.until(lambda: missed in " ".join(system.kubectl("describe", "pod", "wrong").split()), "the empty directory is refused", 20)
    (tmp_path / "large").rmdir()
    (tmp_path / "away").rename(tmp_path / "large")
    system.until(lambda: system.get("pod", "wrong")["status"].get("phase") == "Succeeded", "the right one is taken", 30)
    system.kubectl("delete", "pod", "wrong")
    system.kubectl("delete", "pvc", "local")
    system.until(lambda: system.get("pv", "large")["status"]["phase"] == "Released", "the volume is released", 10)
    assert (tmp_path / "large" / "f").read_text() == "kept\n"
    system.create(claim("again", "2Gi", storageClassName="by-hand"))
    told = 'storageclass.storage.k8s.io "by-hand" not found'
    system.until(lambda: told in system.kubectl("describe", "pvc", "again"), "a released volume is not bound anew", 10)
    assert system.get("pvc", "again")["status"]["phase"] == "Pending"


def test_one_pod_at_a_time(system: System) -> None:
    system.create(claim("one"))
    system.create(pod("holder", "echo data > /v/f; sleep 3600", [uses("one")], MOUNT, restartPolicy="Always"))
    system.wait_ready("holder")
    system.create(pod("second", "cat /v/f", [uses("one", read_only=True)], MOUNT))

    def refused() -> bool:
        return "Multi-Attach error" in system.kubectl("describe", "pod", "second")

    system.until(refused, "the second pod is told who has the volume", 20)
    assert "holder" in system.kubectl("describe", "pod", "second")
    assert system.get("pod", "second")["status"]["phase"] == "Pending"
    system.kubectl("delete", "pod", "holder")
    system.until(lambda: system.get("pod", "second")["status"]["phase"] == "Succeeded", "the second pod gets it", 30)
    assert system.kubectl("logs", "second") == "data\n"
    volume = system.get("pv", system.get("pvc", "one")["spec"]["volumeName"])
    assert '"epoch":2' in volume["metadata"]["annotations"]["holdfast.io/fence"]


def test_a_claim_in_use_waits_and_its_data_goes_with_it(system: System) -> None:
    system.create(claim("gone"))
    system.create(pod("user", "sleep 3600", [uses("gone")], MOUNT))
    system.wait_ready("user")
    volume = system.get("pvc", "gone")["spec"]["volumeName"]
    image = system.data / "volumes" / "pool" / f"{volume}.img"
    assert image.exists()
    system.kubectl("delete", "pvc", "gone", "--wait=false")
    assert system.get("pvc", "gone")["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    system.kubectl("delete", "pod", "user")
    system.until(lambda: system.get("pvc", "gone") is None, "the claim goes", 20)
    system.until(lambda: system.get("pv", volume) is None, "the volume goes", 20)
    assert not image.exists()


@pytest.mark.parametrize(("size", "shown"), [("1Mi", "256Mi"), ("300Mi", "300Mi")])
def test_small_claims_are_rounded_up_and_shown(system: System, size: str, shown: str) -> None:
    name = f"c{size.lower()}"
    system.create(claim(name, size))
    said(system, pod(f"p{size.lower()}", "true", [uses(name)], MOUNT))
    assert shown in system.kubectl("get", "pvc", name).splitlines()[1].split()


def test_a_claim_that_does_not_fit_is_refused_with_the_figures(system: System) -> None:
    system.create(claim("huge", "900Ti"))
    system.create(pod("huge", "true", [uses("huge")], MOUNT))

    def told() -> bool:
        return "was promised" in " ".join(system.kubectl("describe", "pvc", "huge").split())

    system.until(told, "the event says how much room there is", 20)
    system.kubectl("delete", "pod", "huge")
    system.kubectl("delete", "pvc", "huge")
