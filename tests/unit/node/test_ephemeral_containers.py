"""Ephemeral containers: started once beside the others, told of apart, and no reason for a pod to live, end or be ready."""

from __future__ import annotations

from typing import Any

from holdfast.node.api import PodNetwork
from holdfast.node.pods import model
from holdfast.node.pods.decide import decide
from holdfast.node.pods.model import Failure, KillInstance, Release, StartContainer, View
from holdfast.node.runtimes.api import InstanceConfig, InstanceState
from holdfast.node.runtimes.oci.spec import bundle

UID = "u"


def pod(*, policy: str = "Always", **metadata: Any) -> dict[str, Any]:
    spec = {
        "restartPolicy": policy,
        "containers": [{"name": "c", "image": "i"}],
        "ephemeralContainers": [{"name": "e", "image": "tools"}],
    }
    return {"metadata": {"name": "p", "namespace": "n", "uid": UID, **metadata}, "spec": spec, "status": {}}


def instance(container: str, phase: str = "running", code: int = 0) -> InstanceState:
    return InstanceState(model.instance_id(UID, container, 0), UID, container, 0, phase, 7, 1.0, 2.0, code)


def view(body: dict[str, Any], *instances: InstanceState, **more: Any) -> View:
    running = frozenset(one.id for one in instances)
    seen: dict[str, Any] = {"network": PodNetwork("10.0.0.1", "/ns"), "volumes_ready": True, "confirmed": True, "started": running}
    return View(body, 10.0, {one.id: one for one in instances}, passing=running, **{**seen, **more})


def test_one_is_started_when_it_appears_also_before_the_others_run() -> None:
    assert decide(view(pod(), instance("c"))).intents == (StartContainer("e", 0),)
    body = pod()
    body["spec"]["initContainers"] = [{"name": "i", "image": "i"}]
    assert decide(view(body, instance("i"))).intents == (StartContainer("e", 0),)


def test_one_that_ended_is_not_started_again_whatever_the_policy() -> None:
    for policy in ("Always", "OnFailure", "Never"):
        found = decide(view(pod(policy=policy), instance("c"), instance("e", "exited", 3)))
        assert found.intents == ()
        (status,) = found.status["ephemeralContainerStatuses"]
        assert status["state"]["terminated"]["exitCode"] == 3
        assert found.status["phase"] == "Running"


def test_one_that_ran_before_a_reboot_is_lost() -> None:
    body = pod()
    state = {"running": {"startedAt": "2001-01-01T00:00:00Z"}}
    body["status"] = {"ephemeralContainerStatuses": [{"name": "e", "containerID": "holdfast://old", "state": state}]}
    found = decide(view(body, instance("c")))
    assert found.intents == ()
    (status,) = found.status["ephemeralContainerStatuses"]
    assert status["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_its_status_stands_apart_and_makes_nothing_ready() -> None:
    found = decide(view(pod(), instance("c"), instance("e")))
    (status,) = found.status["ephemeralContainerStatuses"]
    assert "running" in status["state"]
    assert (status["ready"], "started" in status) == (False, False)
    assert [one["name"] for one in found.status["containerStatuses"]] == ["c"]
    assert {one["type"]: one["status"] for one in found.status["conditions"]}["Ready"] == "True"


def test_one_that_cannot_start_says_why_and_is_tried_again() -> None:
    failure = {"e": Failure("ErrImagePull", "not here", 15.0)}
    found = decide(view(pod(), instance("c"), failures=failure))
    (status,) = found.status["ephemeralContainerStatuses"]
    assert status["state"]["waiting"]["reason"] == "ErrImagePull"
    assert (found.intents, found.wake_at) == ((), 15.0)


def test_it_goes_with_its_pod_and_does_not_keep_it() -> None:
    deleted = pod(deletionTimestamp="2001-01-01T00:00:00Z", deletionGracePeriodSeconds=5)
    killed = [
        intent.container for intent in decide(view(deleted, instance("c"), instance("e"))).intents if isinstance(intent, KillInstance)
    ]
    assert killed == ["c", "e"]
    done = decide(view(pod(policy="Never"), instance("c", "exited"), instance("e")))
    assert done.status["phase"] == "Succeeded"
    assert [intent.container for intent in done.intents if isinstance(intent, KillInstance)] == ["e"]


def test_a_sidecar_does_not_keep_a_pod_whose_containers_are_done() -> None:
    body = pod(policy="Never")
    del body["spec"]["ephemeralContainers"]
    body["spec"]["initContainers"] = [{"name": "s", "image": "i", "restartPolicy": "Always"}]
    ending = decide(view(body, instance("c", "exited"), instance("s")))
    assert [one.container for one in ending.intents if isinstance(one, KillInstance)] == ["s"]
    ended = decide(view(body, instance("c", "exited"), instance("s", "exited", 143)))
    assert (ended.intents, ended.status["phase"]) == ((Release(),), "Succeeded")


def test_it_joins_the_processes_of_the_one_it_looks_at() -> None:
    config = InstanceConfig("i", UID, "p", "n", "e", 0, ("/layer",), ("sh",), {}, netns="/ns", pid_of=42)
    namespaces = bundle(config, "/cgroup")["linux"]["namespaces"]
    assert {"type": "pid", "path": "/proc/42/ns/pid"} in namespaces
    assert {"type": "network", "path": "/ns"} in namespaces
