"""Jobs with stock kubectl on ``--runtime simulated``, where ``sleep``, ``true`` and ``false`` end as they say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.lib.clock import parse_rfc3339
from tests.kubectl import Kubectl, clients
from tests.system import System

FINALIZER = "batch.kubernetes.io/job-tracking"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("jobs") / "d")
    running.up("--runtime", "simulated", "--listen", "127.0.0.1:0")
    try:
        yield running
    finally:
        running.reset()


@pytest.fixture(scope="module", params=clients(), ids=lambda path: Path(path).name)
def k(request: pytest.FixtureRequest, simulated: System) -> Iterator[Kubectl]:
    kubectl = Kubectl(request.param, simulated, f"jobs-{clients().index(request.param)}")
    kubectl("create", "namespace", kubectl.namespace)
    yield kubectl
    kubectl("delete", "namespace", kubectl.namespace, "--timeout=60s", timeout=70)


def make(k: Kubectl, name: str, *command: str, restart: str = "Never", metadata: Any = None, **spec: Any) -> None:
    container = {"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": [*command]}
    inner = {"restartPolicy": restart, "terminationGracePeriodSeconds": 1, "containers": [container]}
    full = {"template": {"metadata": metadata or {}, "spec": inner}, **spec}
    k("create", "-f", "-", stdin=json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": full}))


def ended(k: Kubectl, name: str, condition: str = "complete") -> Any:
    """The job's status, once it has that condition."""
    k("wait", f"--for=condition={condition}", f"job/{name}", "--timeout=50s")
    return k.json("get", "job", name)["status"]


def conditions(status: Any) -> list[tuple[str, str, str]]:
    return [(c["type"], c["reason"], c["message"]) for c in status["conditions"] if c["status"] == "True"]


def pods(k: Kubectl, name: str) -> list[Any]:
    found: list[Any] = k.json("get", "pods", "-l", f"job-name={name}")["items"]
    return found


def reasons(k: Kubectl, name: str) -> list[str]:
    """What the controller's events say, once the last of them is there."""
    asked = ("get", "events", "--field-selector", f"involvedObject.name={name},involvedObject.kind=Job")
    return [f"{e['reason']}: {e['message']}" for e in k.json(*asked)["items"] if e["source"]["component"] == "job-controller"]


def test_a_job_completes(k: Kubectl) -> None:
    assert k("create", "job", "ok", "--image=busybox", "--", "sleep", "1") == "job.batch/ok created\n"
    status = ended(k, "ok")
    text = "Reached expected number of succeeded pods"
    assert conditions(status) == [("SuccessCriteriaMet", "CompletionsReached", text), ("Complete", "CompletionsReached", text)]
    assert status["succeeded"] == 1
    assert (status["ready"], status["terminating"], status["uncountedTerminatedPods"]) == (0, 0, {})
    assert not {"active", "failed"} & set(status)
    (pod,) = pods(k, "ok")
    assert re.fullmatch(r"ok-[bcdfghjklmnpqrstvwxz2456789]{5}", pod["metadata"]["name"])
    assert not pod["metadata"].get("finalizers")
    uid = k.field("job", "ok", path=".metadata.uid")
    assert {key: pod["metadata"]["labels"][key] for key in ("batch.kubernetes.io/controller-uid", "controller-uid")} == {
        "batch.kubernetes.io/controller-uid": uid,
        "controller-uid": uid,
    }
    assert k.rows("get", "jobs", "ok")[1][k.rows("get", "jobs", "ok")[0].index("COMPLETIONS")] == "1/1"
    told = k("describe", "job", "ok")
    assert re.search(r"Pods Statuses:\s+0 (Active|Running)( \(0 Ready\))? / 1 Succeeded / 0 Failed", told)
    assert re.search(r"Completed At:\s+\w+", told)
    k.system.until(lambda: "Completed: Job completed" in reasons(k, "ok"), "it is told")
    assert set(reasons(k, "ok")) == {f"SuccessfulCreate: Created pod: {pod['metadata']['name']}", "Completed: Job completed"}


def test_indexes(k: Kubectl) -> None:
    make(k, "ix", "sleep", "0.2", completions=5, parallelism=2, completionMode="Indexed")
    status = ended(k, "ix")
    assert (status["completedIndexes"], status["succeeded"]) == ("0-4", 5)
    assert k.minor < 21 or re.search(r"Completed Indexes:\s+0-4", k("describe", "job", "ix"))
    made = sorted(pods(k, "ix"), key=lambda pod: pod["spec"]["hostname"])
    assert [pod["spec"]["hostname"] for pod in made] == [f"ix-{index}" for index in range(5)]
    for index, pod in enumerate(made):
        assert re.fullmatch(rf"ix-{index}-[a-z0-9]{{5}}", pod["metadata"]["name"])
        key = "batch.kubernetes.io/job-completion-index"
        assert pod["metadata"]["annotations"][key] == pod["metadata"]["labels"][key] == str(index)
        (variable,) = pod["spec"]["containers"][0]["env"]
        assert variable["name"] == "JOB_COMPLETION_INDEX"
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{key}']"


@pytest.mark.parametrize(
    ("name", "spec", "reason", "message"),
    [
        ("often", {"backoffLimit": 0}, "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
        (
            "rule",
            {"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]}},
            "PodFailurePolicy",
            "Container c for pod {pod} failed with exit code 1 matching FailJob rule at index 0",
        ),
        (
            "some",
            {"completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimitPerIndex": 0},
            "FailedIndexes",
            "Job has failed indexes",
        ),
        (
            "most",
            {"completionMode": "Indexed", "completions": 2, "parallelism": 1, "backoffLimitPerIndex": 0, "maxFailedIndexes": 0},
            "MaxFailedIndexesExceeded",
            "Job has exceeded the specified maximal number of failed indexes",
        ),
    ],
)
def test_failures_end_a_job(k: Kubectl, name: str, spec: Any, reason: str, message: str) -> None:
    make(k, name, "false", **spec)
    status = ended(k, name, "failed")
    pod = pods(k, name)[0]["metadata"]
    message = message.format(pod=f"{pod['namespace']}/{pod['name']}")
    assert conditions(status) == [("FailureTarget", reason, message), ("Failed", reason, message)]
    assert status["failed"] == len(pods(k, name))
    assert "completionTime" not in status
    assert status.get("failedIndexes") == {"some": "0,1", "most": "0"}.get(name)
    k.system.until(lambda: f"{reason}: {message}" in reasons(k, name), "it is told")


def test_a_failed_pod_is_replaced_after_a_while(k: Kubectl) -> None:
    make(k, "again", "false", backoffLimit=1)
    status = ended(k, "again", "failed")
    assert status["failed"] == 2
    first, second = sorted(parse_rfc3339(pod["metadata"]["creationTimestamp"]) for pod in pods(k, "again"))
    assert second - first >= 9, "ten seconds after the failure, as far as the API's seconds can tell"


def test_what_takes_too_long_is_stopped(k: Kubectl) -> None:
    make(k, "long", "sleep", "3600", parallelism=2, completions=2, activeDeadlineSeconds=1)
    status = ended(k, "long", "failed")
    assert conditions(status)[1] == ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    assert status["failed"] == 2
    k.system.until(lambda: pods(k, "long") == [], "its pods are gone")


def test_a_job_rests_and_goes_on(k: Kubectl) -> None:
    make(k, "rests", "sleep", "3600", parallelism=2, completions=2)
    k.wait_field("{.status.ready}", "2", "job/rests")
    before = {pod["metadata"]["uid"] for pod in pods(k, "rests")}
    k("patch", "job", "rests", "-p", '{"spec":{"suspend":true}}')
    status = ended(k, "rests", "suspended")
    assert conditions(status) == [("Suspended", "JobSuspended", "Job suspended")]
    k.system.until(lambda: pods(k, "rests") == [], "its pods are gone")
    k.system.until(lambda: "startTime" not in k.json("get", "job", "rests")["status"], "its time does not count")
    k("patch", "job", "rests", "-p", '{"spec":{"suspend":false}}')
    k.wait_field("{.status.ready}", "2", "job/rests")
    status = k.json("get", "job", "rests")["status"]
    assert [(c["status"], c["reason"]) for c in status["conditions"]] == [("False", "JobResumed")]
    assert "failed" not in status
    assert not before & {pod["metadata"]["uid"] for pod in pods(k, "rests")}
    k.system.until(lambda: {"Suspended: Job suspended", "Resumed: Job resumed"} <= set(reasons(k, "rests")), "it is told")
    k("patch", "job", "rests", "-p", '{"spec":{"parallelism":1}}')
    k.system.until(lambda: k.json("get", "job", "rests")["status"].get("active") == 1, "one of them goes")
    assert "failed" not in k.json("get", "job", "rests")["status"]


def test_success_policy(k: Kubectl) -> None:
    rules = {"rules": [{"succeededIndexes": "0", "succeededCount": 1}]}
    make(k, "enough", "sleep", "1", completions=3, parallelism=1, completionMode="Indexed", successPolicy=rules)
    status = ended(k, "enough")
    assert conditions(status)[1] == ("Complete", "SuccessPolicy", "Matched rules at index 0")
    assert status["completedIndexes"] == "0"


def test_a_job_that_has_ended_goes_after_a_while(k: Kubectl) -> None:
    make(k, "short", "true", ttlSecondsAfterFinished=0)
    k.system.until(lambda: not k("get", "job", "short", "--ignore-not-found"), "it is gone")
    k.system.until(lambda: pods(k, "short") == [], "its pods are gone")


def test_pods_of_a_selector_of_ones_own_are_adopted_and_let_go(k: Kubectl) -> None:
    container = {"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
    meta = {"name": "mine", "labels": {"app": "own"}}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    k("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}))
    selector = {"matchLabels": {"app": "own"}}
    make(k, "own", "sleep", "3600", metadata={"labels": {"app": "own"}}, manualSelector=True, selector=selector)
    k.wait_field("{.status.active}", "1", "job/own")
    pod = k.json("get", "pod", "mine")["metadata"]
    assert (pod["ownerReferences"][0]["name"], pod["finalizers"]) == ("own", [FINALIZER])
    assert len(k.json("get", "pods", "-l", "app=own")["items"]) == 1
    k("label", "pod", "mine", "app=other", "--overwrite")
    k.system.until(lambda: not k.json("get", "pod", "mine")["metadata"].get("ownerReferences"), "it is let go")
    assert not k.json("get", "pod", "mine")["metadata"].get("finalizers")
    k.system.until(lambda: len(k.json("get", "pods", "-l", "app=own")["items"]) == 1, "another one is made")


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_deletion(k: Kubectl, cascade: str) -> None:
    name = f"gone-{cascade}"
    make(k, name, "sleep", "3600")
    k.wait_field("{.status.ready}", "1", f"job/{name}")
    assert k("delete", "job", name, f"--cascade={cascade}", "--timeout=30s").startswith(f'job.batch "{name}" deleted')
    if cascade != "orphan":
        k.system.until(lambda: pods(k, name) == [], "its pods are gone")
        return
    k.system.until(lambda: not pods(k, name)[0]["metadata"].get("finalizers"), "nobody counts it")
    (pod,) = pods(k, name)
    assert not pod["metadata"].get("ownerReferences")
    assert pod["status"]["phase"] == "Running"
