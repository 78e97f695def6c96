"""The printed columns: a pod's state in a word, and cells of other kinds, as kubectl shows them."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Resource
from holdfast.kinds.resources import (
    CONTROLLERREVISIONS,
    ENDPOINTS,
    EVENTS,
    EVENTS_V1,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    ROLEBINDINGS,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
)
from holdfast.lib.clock import parse_rfc3339

TABLE = builtin_table()
NOW = parse_rfc3339("2026-01-01T00:00:10Z")
AT = "2026-01-01T00:00:05Z"
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
RUN: dict[str, Any] = {"running": {}}


def cells(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:01Z"}
    obj = {**obj, "metadata": {**metadata, **obj.get("metadata", {})}}
    return {column.name: column.cell(obj, NOW) for column in TABLE.of(resource).columns}


def pod(phase: str, *states: dict[str, Any], **more: Any) -> dict[str, Any]:
    statuses = [
        {"name": f"c{n}", "state": s, "ready": "running" in s, "restartCount": 0, **more.get("extra", {})} for n, s in enumerate(states)
    ]
    spec = {"containers": [{"name": f"c{n}"} for n in range(max(len(states), 1))], "initContainers": more.get("init", [])}
    status = {"phase": phase, "containerStatuses": statuses, **more.get("status", {})}
    return {"metadata": more.get("metadata", {}), "spec": spec, "status": status}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def ended(code: int, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, **more}}


@pytest.mark.parametrize(
    ("obj", "word", "ready"),
    [
        (pod("Pending"), "Pending", "0/1"),
        (pod("Running", RUN), "Running", "1/1"),
        (pod("Running", RUN, RUN), "Running", "2/2"),
        (pod("Running", waiting("CrashLoopBackOff")), "CrashLoopBackOff", "0/1"),
        (pod("Pending", waiting("ErrImagePull")), "ErrImagePull", "0/1"),
        (pod("Succeeded", DONE), "Completed", "0/1"),
        (pod("Failed", ended(1, reason="Error")), "Error", "0/1"),
        (pod("Failed", ended(137, signal=9)), "Signal:9", "0/1"),
        (pod("Failed", ended(3)), "ExitCode:3", "0/1"),
        (pod("Failed", status={"reason": "Evicted"}), "Evicted", "0/1"),
        (pod("Running", DONE, RUN), "NotReady", "1/2"),
        (pod("Running", DONE, RUN, status={"conditions": [{"type": "Ready", "status": "True"}]}), "Running", "1/2"),
        (pod("Running", RUN, metadata={"deletionTimestamp": AT}), "Terminating", "1/1"),
        (pod("Succeeded", DONE, metadata={"deletionTimestamp": AT}), "Completed", "0/1"),
        (pod("Running", RUN, metadata={"deletionTimestamp": AT}, status={"reason": "NodeLost"}), "Unknown", "1/1"),
        (pod("Pending", status={"conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}), "SchedulingGated", "0/1"),
    ],
)
def test_pod_words(obj: dict[str, Any], word: str, ready: str) -> None:
    found = cells(PODS, obj)
    assert (found["Status"], found["Ready"]) == (word, ready)


def _initial(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    init = [{"name": "i", **more.pop("declared", {})}]
    status = {"initContainerStatuses": [{"name": "i", "state": state, **more}]}
    return pod("Pending", waiting("PodInitializing"), init=init, status=status)


def test_init_containers_hold_a_pod_back() -> None:
    assert cells(PODS, _initial(RUN))["Status"] == "Init:0/1"
    assert cells(PODS, _initial(waiting("PodInitializing")))["Status"] == "Init:0/1"
    assert cells(PODS, _initial(ended(1, reason="Error")))["Status"] == "Init:Error"
    assert cells(PODS, _initial(ended(2)))["Status"] == "Init:ExitCode:2"
    assert cells(PODS, _initial(waiting("CrashLoopBackOff"), restartCount=3))["Restarts"] == "3"
    assert cells(PODS, _initial(DONE, restartCount=3))["Restarts"] == "0"


def test_sidecars_count_as_containers() -> None:
    sidecar = {"declared": {"restartPolicy": "Always"}, "started": True, "ready": True, "restartCount": 2}
    found = cells(PODS, _initial(RUN, **sidecar))
    assert (found["Ready"], found["Restarts"], found["Status"]) == ("1/2", "2", "PodInitializing")


def test_restarts_tell_how_long_ago() -> None:
    extra = {"restartCount": 1, "lastState": {"terminated": {"exitCode": 1, "finishedAt": AT}}}
    assert cells(PODS, pod("Running", RUN, extra=extra))["Restarts"] == "1 (5s ago)"
    assert cells(PODS, pod("Running", RUN))["Restarts"] == "0"


def test_wide_pod_cells() -> None:
    obj = pod("Running", RUN, status={"podIPs": [{"ip": "10.0.0.1"}], "conditions": []})
    obj["spec"]["readinessGates"] = [{"conditionType": "g"}]
    found = cells(PODS, obj)
    assert [found[n] for n in ("IP", "Node", "Nominated Node", "Readiness Gates")] == ["10.0.0.1", "<none>", "<none>", "0/1"]


def test_stateful_set_cells() -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "j"}]}}
    found = cells(STATEFULSETS, {"spec": {"replicas": 2, "template": template}, "status": {"replicas": 1, "readyReplicas": 1}})
    assert found == {"Name": "x", "Ready": "1/2", "Age": "9s", "Containers": "c,d", "Images": "i:1,j"}


def test_service_cells() -> None:
    ports = [{"port": 80, "nodePort": 32408, "protocol": "TCP"}]
    balanced = {"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": ports, "selector": {"c": "d", "a": "b"}}
    found = cells(SERVICES, {"spec": balanced})
    assert list(found.values()) == ["x", "LoadBalancer", "10.96.0.9", "<pending>", "80:32408/TCP", "9s", "a=b,c=d"]
    outside = cells(SERVICES, {"spec": {"type": "ExternalName", "externalName": "a.example"}})
    assert list(outside.values()) == ["x", "ExternalName", "<none>", "a.example", "<none>", "9s", "<none>"]


def test_endpoints_show_three() -> None:
    subset = {"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 53}]}
    assert cells(ENDPOINTS, {"subsets": [subset]})["Endpoints"] == "10.0.0.1:80,10.0.0.2:80,10.0.0.1:53 + 1 more..."
    assert cells(ENDPOINTS, {})["Endpoints"] == "<none>"


def test_claim_and_volume_cells() -> None:
    pending = {"spec": {"storageClassName": "none", "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}
    shown = ["x", "Pending", "", "", "", "none", "<unset>", "9s", "Filesystem"]
    assert list(cells(PERSISTENTVOLUMECLAIMS, pending).values()) == shown
    bound = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}
    claim = {"metadata": {"deletionTimestamp": AT}, "spec": {"volumeName": "pv"}, "status": bound}
    assert list(cells(PERSISTENTVOLUMECLAIMS, claim).values())[1:5] == ["Terminating", "pv", "1Gi", "RWO"]
    spec = {
        "capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": "ns", "name": "c"},
    }
    volume = cells(PERSISTENTVOLUMES, {"spec": spec, "status": {"phase": "Released"}})
    assert list(volume.values())[1:6] == ["2Gi", "RWO,RWX", "Retain", "Released", "ns/c"]


def test_node_cells() -> None:
    info = {"kubeletVersion": "v1.36.2", "osImage": "O", "kernelVersion": "6.1", "architecture": "amd64"}
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": info,
        "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
    }
    obj = {"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}, "spec": {"unschedulable": True}, "status": status}
    found = list(cells(NODES, obj).values())
    assert found == ["x", "Ready,SchedulingDisabled", "worker", "9s", "v1.36.2", "10.0.0.9", "<none>", "O", "6.1 (amd64)", "<unknown>"]


def test_other_cells() -> None:
    default = {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"}
    found = cells(STORAGECLASSES, default)
    assert (found["Name"], found["AllowVolumeExpansion"]) == ("x (default)", False)
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "controller": True}
    assert cells(CONTROLLERREVISIONS, {"metadata": {"ownerReferences": [owner]}, "revision": 1})["Controller"] == "statefulset.apps/s"
    subjects = [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "n", "name": "sa"}]
    binding = cells(ROLEBINDINGS, {"roleRef": {"kind": "Role", "name": "r"}, "subjects": subjects})
    assert [binding[n] for n in ("Role", "Users", "Groups", "ServiceAccounts")] == ["Role/r", "u", "", "n/sa"]


def test_events_read_alike_in_both_forms() -> None:
    stored = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "x", "namespace": "ns"},
        "involvedObject": {"kind": "StatefulSet", "name": "s"},
        "reason": "SuccessfulCreate",
        "message": "made\n",
        "type": "Normal",
        "source": {"component": "statefulset-controller"},
        "firstTimestamp": "2026-01-01T00:00:01Z",
        "lastTimestamp": AT,
        "count": 2,
    }
    newer = TABLE.of(EVENTS_V1)
    assert newer.to_storage
    assert newer.from_storage
    served = newer.from_storage(stored)
    assert served["regarding"] == stored["involvedObject"]
    assert served["note"] == "made\n"
    assert newer.to_storage(served) == stored
    shown = ["5s", "Normal", "SuccessfulCreate", "statefulset/s", "", "statefulset-controller", "made", "9s", 2, "x"]
    assert list(cells(EVENTS, stored).values()) == shown == list(cells(EVENTS_V1, served).values())
