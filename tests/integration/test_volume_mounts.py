"""How volumes appear in containers: devices, parts of a volume, read-only ones, ownership, growth; and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from holdfast.lib import privileged
from tests.integration.test_pod_volumes import MOUNT, claim, pod, said, uses
from tests.system import System

MIB = 1024 * 1024


def empty(name: str = "v") -> dict[str, Any]:
    return {"name": name, "emptyDir": {}}


def refused(system: System, manifest: dict[str, Any], text: str) -> None:
    """The pod waits, and its events say why."""
    name = manifest["metadata"]["name"]
    system.create(manifest)
    system.until(lambda: text in " ".join(system.kubectl("describe", "pod", name).split()), f"{name} is told: {text}", 30)
    system.kubectl("delete", "pod", name)


def host_volume(system: System, name: str, volume: str) -> Path:
    return system.data / "node" / "volumes" / system.get("pod", name)["metadata"]["uid"] / volume


# volumeMode Block


def test_a_raw_device(system: System) -> None:
    system.create(claim("raw", "32Mi", volumeMode="Block"))
    container = {"name": "c", "image": "busybox", "volumeDevices": [{"name": "v", "devicePath": "/dev/xvda"}]}
    script = "echo kept | dd of=/dev/xvda 2>/dev/null; sync; blockdev --getsize64 /dev/xvda; sleep 3600"
    spec = {
        "containers": [{**container, "command": ["sh", "-c", script]}],
        "volumes": [uses("raw")],
        "terminationGracePeriodSeconds": 0,
    }
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "raw"}, "spec": spec}
    system.create(manifest)
    system.wait_ready("raw")
    system.until(lambda: system.kubectl("logs", "raw").strip() == str(32 * MIB), "it has written", 10)
    assert "brw-rw----" in system.kubectl("exec", "raw", "--", "ls", "-l", "/dev/xvda")
    other = "mknod /tmp/other b 7 200 && dd if=/tmp/other count=1 2>&1 || true"
    assert "Operation not permitted" in system.kubectl("exec", "raw", "--", "sh", "-c", other)
    volume = system.get("pv", system.get("pvc", "raw")["spec"]["volumeName"])
    assert (volume["spec"]["volumeMode"], "fsType" in volume["spec"]["csi"]) == ("Block", False)
    grow(system, "raw", "64Mi")
    assert system.kubectl("exec", "raw", "--", "blockdev", "--getsize64", "/dev/xvda").strip() == str(64 * MIB)
    system.kubectl("delete", "pod", "raw")
    spec["containers"] = [{**container, "command": ["sh", "-c", "head -c 4 /dev/xvda; echo; (echo x > /dev/xvda) 2>&1"]}]
    spec |= {"restartPolicy": "Never", "volumes": [uses("raw", read_only=True)]}
    system.create(manifest)
    system.until(lambda: system.get("pod", "raw")["status"].get("phase") == "Failed", "the reader ends", 30)
    kept, denied = system.kubectl("logs", "raw").splitlines()
    assert kept == "kept"
    assert "not permitted" in denied
    system.kubectl("delete", "pod", "raw")
    refused(system, pod("wrong", "true", [uses("raw")], MOUNT), 'volume "v" has volumeMode Block, but is specified in volumeMounts')
    system.kubectl("delete", "pvc", "raw")
    system.until(lambda: system.get("pv", volume["metadata"]["name"]) is None, "the volume goes", 20)


# Growth


def grow(system: System, name: str, size: str) -> None:
    patch = f'{{"spec":{{"resources":{{"requests":{{"storage":"{size}"}}}}}}}}'
    system.kubectl("patch", "pvc", name, "-p", patch)
    system.until(lambda: system.get("pvc", name)["status"]["capacity"]["storage"] == size, f"{name} has {size}", 30)


def test_a_claim_grows_under_a_running_pod(system: System) -> None:
    system.create(claim("more"))
    system.create(pod("grower", "sleep 3600", [uses("more")], MOUNT, restartPolicy="Always"))
    system.wait_ready("grower")
    grow(system, "more", "500Mi")
    status = system.get("pvc", "more")["status"]
    assert not status.get("conditions")
    assert not status.get("allocatedResourceStatuses")
    free = int(system.kubectl("exec", "grower", "--", "sh", "-c", "df -m /v | tail -n 1").split()[-3])
    assert free >= 500
    told = "FileSystemResizeSuccessful"
    system.until(lambda: told in system.kubectl("describe", "pod", "grower"), "the pod is told", 10)
    system.until(lambda: told in system.kubectl("describe", "pvc", "more"), "the claim is told", 10)
    system.kubectl("delete", "pod", "grower")
    system.kubectl("delete", "pvc", "more")


def test_an_ext4_claim_grows_with_its_next_mount(system: System) -> None:
    name = "ext4"
    parameters = {"csi.storage.k8s.io/fstype": "ext4", "trashHours": "0"}
    body = {"provisioner": "builtin.holdfast.io", "parameters": parameters, "allowVolumeExpansion": True, "mountOptions": ["noatime"]}
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    system.create({**kind, **body, "volumeBindingMode": "WaitForFirstConsumer"})
    system.create(claim(name, "40Mi", storageClassName=name))
    system.create(pod("e", "grep ' /v ' /proc/mounts; sleep 3600", [uses(name)], MOUNT))
    system.wait_ready("e")
    assert "ext4 rw,noatime" in system.kubectl("logs", "e")
    if privileged.may_exceed_limits():
        grow(system, name, "100Mi")
    else:
        system.kubectl("patch", "pvc", name, "-p", '{"spec":{"resources":{"requests":{"storage":"100Mi"}}}}')
        told = "it is done at the next mount"
        system.until(lambda: told in " ".join(system.kubectl("describe", "pvc", name).split()), "the claim says what it waits for", 20)
        conditions = system.get("pvc", name)["status"]["conditions"]
        assert "FileSystemResizePending" in {condition["type"] for condition in conditions}
    system.kubectl("delete", "pod", "e")
    system.create(pod("e", "sleep 3600", [uses(name)], MOUNT))
    system.until(lambda: system.get("pvc", name)["status"]["capacity"]["storage"] == "100Mi", "it has grown", 30)
    system.kubectl("delete", "pod", "e")
    volume = system.get("pvc", name)["spec"]["volumeName"]
    system.kubectl("delete", "pvc", name)
    system.until(lambda: system.get("pv", volume) is None, "the volume goes", 20)
    assert not list((system.data / "volumes" / "pool").rglob(f"{volume}*")), "trashHours 0 erases at once"
    system.kubectl("delete", "storageclass", name)


# Parts of a volume


@pytest.mark.parametrize("leads", ["/", "/etc", "../../..", "loop"])
def test_sec_9_a_symlink_does_not_lead_out_of_its_volume(system: System, leads: str) -> None:
    name = f"sec-9-{['/', '/etc', '../../..', 'loop'].index(leads)}"
    first = {"name": "i", "image": "busybox", "command": ["sh", "-c", f"ln -s {leads} /v/loop"], "volumeMounts": MOUNT}
    mounts = [{"name": "v", "mountPath": "/a", "subPath": "loop/below"}]
    manifest = pod(name, "true", [empty()], mounts, initContainers=[first])
    refused(system, manifest, "subPath loop/below leads out of its volume")


def test_a_symlink_within_the_volume_is_followed(system: System) -> None:
    first = {"name": "i", "image": "busybox", "command": ["sh", "-c", "mkdir /v/real; echo x > /v/real/f; ln -s real /v/link"]}
    mounts = [{"name": "v", "mountPath": "/a", "subPath": "link"}, {"name": "v", "mountPath": "/one", "subPath": "link/f"}]
    first["volumeMounts"] = MOUNT
    assert said(system, pod("within", "cat /a/f /one", [empty()], mounts, initContainers=[first])) == ["x", "x"]


def test_sub_path_expressions(system: System) -> None:
    mounts = [{"name": "v", "mountPath": "/a", "subPathExpr": "$(WHO)/x"}, {"name": "v", "mountPath": "/all"}]
    manifest = pod("expr", "echo hi > /a/f; cat /all/expr/x/f", [empty()], mounts)
    manifest["spec"]["containers"][0]["env"] = [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    assert said(system, manifest) == ["hi"]
    manifest["metadata"]["name"] = "noexpr"
    mounts[0]["subPathExpr"] = "$(NOBODY)"
    refused(system, manifest, "subPathExpr $(NOBODY): there is no environment variable NOBODY")
    manifest["metadata"]["name"] = "outexpr"
    mounts[0]["subPathExpr"] = "$(OUT)"
    manifest["spec"]["containers"][0]["env"] = [{"name": "OUT", "value": "../.."}]
    refused(system, manifest, "must be a relative path without ..")


def test_r_34_sub_paths_of_a_pod_deleted_by_force_while_the_node_was_away_are_let_go(system: System) -> None:
    system.create(claim("sub"))
    mounts = [{"name": "v", "mountPath": "/a", "subPath": "deep/er"}]
    system.create(pod("forced", "echo kept > /a/f; sleep 3600", [uses("sub")], mounts, restartPolicy="Always"))
    system.wait_ready("forced")
    uid = system.get("pod", "forced")["metadata"]["uid"]
    system.kill("node")
    system.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
    system.up()
    system.until(lambda: not privileged.mounts_below(system.data / "node" / "volumes" / uid), "nothing is mounted", 60)
    system.until(lambda: not (system.data / "node" / "volumes" / uid).exists(), "its directory goes", 30)
    assert said(system, pod("after", "cat /a/f", [uses("sub")], mounts)) == ["kept"]
    system.kubectl("delete", "pvc", "sub")


# What containers may not do


def test_sec_11_what_the_node_writes_no_container_changes(system: System) -> None:
    system.kubectl("create", "configmap", "sec-11", "--from-literal=k=v")
    volumes = [
        {"name": "v", "projected": {"sources": [{"configMap": {"name": "sec-11"}}]}},
        {"name": "m", "configMap": {"name": "sec-11"}},
    ]
    script = "for d in /v /m; do rm -rf $d/..data; ln -sfn / $d/..data; done; cat /v/k /m/k"
    lines = said(system, pod("sec-11", script, volumes, [*MOUNT, {"name": "m", "mountPath": "/m"}]))
    assert lines[-1].endswith("vv")
    assert sum("Read-only file system" in line for line in lines) >= 2


def test_read_only_with_everything_below(system: System) -> None:
    inside = {"name": "w", "mountPath": "/v/in"}
    for value, shown in (("Enabled", "Enabled"), ("Disabled", "Disabled")):
        mounts = [{"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": value}, {**inside, "mountPath": "/w"}]
        name = f"rro-{value.lower()}"
        system.create(pod(name, "touch /v/f; sleep 3600", [empty(), empty("w")], mounts))
        system.wait_ready(name)
        assert "Read-only file system" in system.kubectl("logs", name)
        found = system.get("pod", name)["status"]["containerStatuses"][0]["volumeMounts"][0]
        assert found["recursiveReadOnly"] == shown
        system.kubectl("delete", "pod", name)


def test_mount_propagation_is_refused(system: System) -> None:
    mounts = [{"name": "v", "mountPath": "/v", "mountPropagation": "HostToContainer"}]
    refused(
        system, pod("propagating", "true", [empty()], mounts), 'mountPropagation HostToContainer of "v" is not offered on this node'
    )


def test_the_group_of_a_claims_files(system: System) -> None:
    """Always gives every file to the group; OnRootMismatch leaves them when the root has it already."""
    system.create(claim("grouped"))
    context = {"runAsUser": 1000, "fsGroup": 2000}
    show = "stat -c '%g %a' /v /v/d /v/d/f"
    script = "mkdir -p /v/d; echo x > /v/d/f; chmod 640 /v/d/f; ln -sf /etc /v/d/link; "
    assert said(system, pod("g1", script + "stat -c %g /v/d", [uses("grouped")], MOUNT, securityContext=context)) == ["2000"]
    lines = said(system, pod("g2", show, [uses("grouped")], MOUNT, securityContext={**context, "fsGroup": 3000}))
    assert [line.split()[0] for line in lines] == ["3000"] * 3
    assert stat.S_IMODE(int(lines[2].split()[1], 8)) & 0o060 == 0o060
    kept = {**context, "fsGroup": 3000, "fsGroupChangePolicy": "OnRootMismatch"}
    root = {"securityContext": {"runAsUser": 0}}
    first = {"name": "i", "image": "busybox", "command": ["sh", "-c", "chgrp 4000 /v/d/f"], "volumeMounts": MOUNT, **root}
    said(system, pod("g3", "true", [uses("grouped")], MOUNT, securityContext=kept, initContainers=[first]))
    assert said(system, pod("g4", "stat -c %g /v/d/f", [uses("grouped")], MOUNT, securityContext=kept)) == ["4000"]
    assert os.stat("/etc").st_gid == 0, "the symlink was not followed"
    system.kubectl("delete", "pvc", "grouped")
