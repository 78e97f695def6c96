"""What a pod and a claim are said to wait for, state by state."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.controllers.statefulset import causes
from holdfast.controllers.statefulset.causes import Around
from holdfast.kinds.kind import Obj

T0, T1 = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
READY_NODE: Obj = {"metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def pod(status: Obj | None = None, metadata: Obj | None = None, **spec: Any) -> Obj:
    base = {"nodeName": "n1", "containers": [{"name": "db", "image": "db:1"}], **spec}
    given = {"name": "web-1", "namespace": "ns", "uid": "u1", "creationTimestamp": T0, **(metadata or {})}
    return {"metadata": given, "spec": base, "status": {"phase": "Running", "startTime": T0, **(status or {})}}


def container(ready: bool = False, restarts: int = 0, last: Obj | None = None, **state: Obj) -> Obj:
    one: Obj = {"name": "db", "image": "db:1", "ready": ready, "restartCount": restarts, "state": state}
    return one | ({"lastState": {"terminated": last}} if last else {})


def with_container(one: Obj) -> Obj:
    return {"containerStatuses": [one]}


DYING = {"deletionTimestamp": T1, "deletionGracePeriodSeconds": 60}
LOST: Obj = {
    "metadata": {"name": "n1"},
    "status": {"conditions": [{"type": "Ready", "status": "Unknown", "message": "it went silent", "lastTransitionTime": T1}]},
}
UNFIT = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes fit", "lastTransitionTime": T1}]
PROBE = [{"name": "db", "readinessProbe": {"httpGet": {"path": "/up", "port": 80}}}]
CRASH = {"exitCode": 3, "reason": "Error", "finishedAt": T1}
GATE = [{"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": "x is not True", "lastTransitionTime": T1}]
INIT = [{"name": "prepare", "state": {"running": {"startedAt": T1}}}]
RUNNING = {"running": {"startedAt": T1}}


@pytest.mark.parametrize(
    ("subject", "nodes", "reason", "since", "said"),
    [
        (pod(nodeName=None), {}, "NotScheduled", T0, "scheduler default-scheduler"),
        (pod({"conditions": UNFIT}, nodeName=None), {}, "Unschedulable", T1, "0/1 nodes fit"),
        (pod(nodeName=None, schedulingGates=[{"name": "ask-me"}]), {}, "SchedulingGated", T0, "ask-me"),
        (pod(), {}, "NodeGone", "", "node n1"),
        (pod(), {"n1": LOST}, "NodeNotReady", T1, "it went silent"),
        (pod(), {"n1": READY_NODE}, "NotStarted", T0, "node n1 has not started"),
        (
            pod(with_container(container(waiting={"reason": "ImagePullBackOff", "message": "no such image"}))),
            {"n1": READY_NODE},
            "ImagePullBackOff",
            T0,
            "container db has no image db:1: ImagePullBackOff: no such image",
        ),
        (
            pod(with_container(container(restarts=4, last=CRASH, waiting={"reason": "CrashLoopBackOff"}))),
            {"n1": READY_NODE},
            "CrashLoopBackOff",
            T1,
            "ended 4 times, last with exit code 3 (Error)",
        ),
        (
            pod(with_container(container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}))),
            {"n1": READY_NODE},
            "CreateContainerConfigError",
            T0,
            'secret "s" not found',
        ),
        (pod(with_container(container(terminated=CRASH))), {"n1": READY_NODE}, "Error", T1, "has ended: exit code 3"),
        (pod(with_container(container(**RUNNING)), containers=PROBE), {"n1": READY_NODE}, "ReadinessProbeFails", T1, "said no"),
        (pod(with_container(container(**RUNNING))), {"n1": READY_NODE}, "Starting", T1, "just started"),
        (
            pod({"initContainerStatuses": INIT}, initContainers=[{"name": "prepare"}]),
            {"n1": READY_NODE},
            "PodInitializing",
            T1,
            "init container prepare is still running",
        ),
        (pod({"conditions": GATE}), {"n1": READY_NODE}, "ReadinessGatesNotReady", T1, "x is not True"),
        (pod({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}), {}, "Evicted", "", "low on memory"),
        (pod(with_container(container(**RUNNING)), DYING), {"n1": READY_NODE}, "TerminatingContainers", T0, "db still runs"),
        (pod({}, DYING), {}, "TerminatingNodeLost", T0, "no longer registered"),
        (pod({}, {**DYING, "finalizers": ["a/b"]}), {"n1": READY_NODE}, "TerminatingFinalizers", T0, "a/b"),
        (pod({}, DYING), {"n1": READY_NODE}, "Terminating", T0, "cleaning up"),
    ],
)
def test_why_a_pod_is_not_ready(subject: Obj, nodes: dict[str, Obj], reason: str, since: str, said: str) -> None:
    events = {"u1": [{"reason": "Unhealthy", "message": "said no"}]} if reason == "ReadinessProbeFails" else {}
    (wait,) = causes.of_pod(subject, Around(nodes=nodes, events=events))
    assert (wait.subject, wait.reason, wait.since) == ("pod/web-1", reason, since)
    assert said in wait.message
    assert wait.remedy


def test_what_may_not_be_seen_is_not_said_to_be_missing() -> None:
    around = Around(nodes=None, volumes=None, classes=None)
    (wait,) = causes.of_pod(pod(), around)
    assert wait.reason == "NotStarted"
    assert causes.of_pod(pod({"conditions": [{"type": "Ready", "status": "True"}]}), around) == []
    for subject in (claim(), claim(volumeName="v")):
        (wait,) = causes.of_claim(subject, around)
        assert wait.reason == "NotBound"


def test_a_ready_pod_waits_for_nothing() -> None:
    ready = pod({"conditions": [{"type": "Ready", "status": "True"}]})
    assert causes.of_pod(ready, Around(nodes={"n1": READY_NODE})) == []


def test_a_pod_without_its_claim() -> None:
    volumes = [{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-1"}}]
    (wait,) = causes.of_pod(pod(volumes=volumes, nodeName=None), Around())
    assert (wait.subject, wait.reason) == ("pvc/www-web-1", "ClaimMissing")


def claim(status: Obj | None = None, metadata: Obj | None = None, **spec: Any) -> Obj:
    given = {"name": "www-web-1", "namespace": "ns", "uid": "c1", "creationTimestamp": T0, **(metadata or {})}
    return {"metadata": given, "spec": {"storageClassName": "fast", **spec}, "status": {"phase": "Pending", **(status or {})}}


LATE = {"metadata": {"name": "fast"}, "provisioner": "p.example", "volumeBindingMode": "WaitForFirstConsumer"}
SOON = {"metadata": {"name": "fast"}, "provisioner": "p.example", "volumeBindingMode": "Immediate"}
BY_HAND = {"metadata": {"name": "fast"}, "provisioner": causes.NO_PROVISIONER}
USER = pod(volumes=[{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-1"}}])
OTHERS = {"spec": {"claimRef": {"namespace": "ns", "name": "other", "uid": "c2"}}}
FORMER = {"spec": {"claimRef": {"namespace": "ns", "name": "www-web-1", "uid": "c0"}}}


@pytest.mark.parametrize(
    ("subject", "around", "reason", "said"),
    [
        (claim(storageClassName=None), {}, "NoClass", "no default"),
        (claim(), {}, "ClassMissing", '"fast"'),
        (claim(), {"classes": {"fast": LATE}, "pods": {"web-1": USER}}, "WaitForFirstConsumer", "web-1 uses it"),
        (claim(), {"classes": {"fast": LATE}}, "WaitForFirstConsumer", "no pod uses it"),
        (claim(), {"classes": {"fast": SOON}}, "Provisioning", "p.example"),
        (claim(), {"classes": {"fast": BY_HAND}}, "NoVolumeFits", "class fast"),
        (claim(volumeName="v"), {}, "VolumeMissing", "volume v"),
        (claim(volumeName="v"), {"volumes": {"v": OTHERS}}, "VolumeTaken", "belongs to claim ns/other"),
        (claim(volumeName="v"), {"volumes": {"v": FORMER}}, "VolumeTaken", "a former claim www-web-1"),
        (claim(volumeName="v"), {"volumes": {"v": {"spec": {}}}}, "NotBound", "not bound yet"),
        (claim({"phase": "Lost"}, volumeName="v"), {}, "ClaimLost", "has lost its volume v"),
        (claim({"phase": "Bound"}, DYING), {"pods": {"web-1": USER}}, "ClaimTerminating", "pod web-1 uses it"),
        (claim({"phase": "Bound"}, {**DYING, "finalizers": ["x/y"]}), {}, "ClaimTerminating", "held by x/y"),
    ],
)
def test_why_a_claim_is_not_bound(subject: Obj, around: dict[str, Any], reason: str, said: str) -> None:
    (wait,) = causes.of_claim(subject, Around(**around))
    assert (wait.subject, wait.reason) == ("pvc/www-web-1", reason)
    assert said in wait.message
    assert wait.since == ("" if reason == "ClaimLost" else T0)
    assert wait.remedy


def test_a_provisioner_that_refuses_is_not_suspected_of_being_away() -> None:
    said = {"c1": [{"reason": "ProvisioningFailed", "message": "ReadWriteMany is not offered"}]}
    (wait,) = causes.of_claim(claim(), Around(classes={"fast": SOON}, events=said))
    assert wait.reason == "ProvisioningFailed"
    assert "ReadWriteMany is not offered" in wait.message
    assert "runs" not in wait.remedy


def test_a_sentence_of_the_scheduler_ends_once() -> None:
    nowhere = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    one = pod(nodeName=None)
    one["status"] = {"phase": "Pending", "conditions": [nowhere]}
    (wait,) = causes.of_pod(one, Around(nodes={"n1": {"spec": {"unschedulable": True}}, "n2": {"spec": {}}}))
    assert "kubectl uncordon n1;" in wait.remedy
    (wait,) = causes.of_pod(one, Around())
    assert "uncordon" not in wait.remedy
    assert (wait.reason, wait.message) == ("Unschedulable", "web-1 fits on no node: 0/1 nodes are available: 1 Insufficient cpu")


@pytest.mark.parametrize(
    ("kind", "message", "said"),
    [
        ("FileSystemResizePending", "", "has a larger volume, and 1Gi of it until a node"),
        (
            "ControllerResizeError",
            "failed to expand pvc with no room",
            "does not get what it asks for: failed to expand pvc with no room",
        ),
    ],
)
def test_h10_why_a_claim_has_not_grown(kind: str, message: str, said: str) -> None:
    entry = {"type": kind, "status": "True", "message": message, "lastTransitionTime": T0}
    (wait,) = causes.of_claim(claim({"phase": "Bound", "capacity": {"storage": "1Gi"}, "conditions": [entry]}), Around())
    assert (wait.reason, wait.since) == (kind, T0)
    assert said in wait.message
    assert wait.remedy


def test_a_bound_claim_waits_for_nothing() -> None:
    assert causes.of_claim(claim({"phase": "Bound"}), Around()) == []
