"""Jobs whose programs really run: one succeeds, one fails twice and then succeeds, one knows its index."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.lib.clock import parse_rfc3339
from tests.system import System


def make(system: System, name: str, script: str, volume: dict[str, Any] | None = None, **spec: Any) -> None:
    container: dict[str, Any] = {"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}
    inner: dict[str, Any] = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    if volume is not None:
        container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
        inner["volumes"] = [{"name": "v", **volume}]
    full = {"template": {"spec": inner}, **spec}
    system.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": full})


def pods(system: System, name: str) -> list[dict[str, Any]]:
    found = system.get("pods", "-l", f"job-name={name}")
    return sorted((found or {"items": []})["items"], key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def test_a_job_succeeds_and_its_log_is_read_by_its_name(system: System) -> None:
    make(system, "ok", "echo done")
    system.kubectl("wait", "--for=condition=complete", "job/ok", "--timeout=60s")
    assert system.kubectl("logs", "job/ok") == "done\n"
    assert system.get("job", "ok")["status"]["succeeded"] == 1
    system.kubectl("delete", "job", "ok", "--timeout=60s")
    system.until(lambda: pods(system, "ok") == [], "its pods are gone")


@pytest.mark.timeout(300)
def test_it_fails_twice_and_then_succeeds(system: System) -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "tries"}}
    system.create({**claim, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}})
    script = "echo x >> /v/tries; echo try $(wc -l < /v/tries); [ $(wc -l < /v/tries) -ge 3 ]"
    make(system, "third", script, volume={"persistentVolumeClaim": {"claimName": "tries"}})
    system.kubectl("wait", "--for=condition=complete", "job/third", "--timeout=120s", timeout=130)
    status = system.get("job", "third")["status"]
    assert (status["failed"], status["succeeded"], status["uncountedTerminatedPods"]) == (2, 1, {})
    first, second, third = pods(system, "third")
    assert [pod["status"]["phase"] for pod in (first, second, third)] == ["Failed", "Failed", "Succeeded"]
    born = [parse_rfc3339(pod["metadata"]["creationTimestamp"]) for pod in (first, second, third)]
    assert born[1] - born[0] >= 9, "ten seconds after the first failure"
    assert born[2] - born[1] >= 19, "twenty after the second"
    assert system.kubectl("logs", third["metadata"]["name"]) == "try 3\n"
    system.kubectl("delete", "job/third", "pvc/tries", "--timeout=60s")


def test_each_pod_knows_its_index(system: System) -> None:
    make(system, "ix", "echo $JOB_COMPLETION_INDEX $(hostname)", completions=3, parallelism=3, completionMode="Indexed")
    system.kubectl("wait", "--for=condition=complete", "job/ix", "--timeout=60s")
    said = sorted(system.kubectl("logs", pod["metadata"]["name"]) for pod in pods(system, "ix"))
    assert said == [f"{index} ix-{index}\n" for index in range(3)]
    assert json.loads(system.kubectl("get", "job", "ix", "-o", "json"))["status"]["completedIndexes"] == "0-2"
    system.kubectl("delete", "job", "ix", "--timeout=60s")
