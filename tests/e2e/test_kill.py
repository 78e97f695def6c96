"""kill -9 of server, node and both at seeded random points: objects stay, members keep their PIDs, the work goes on."""

from __future__ import annotations

import os
import random

import pytest

from tests.system import TUTORIAL, System

SEED = int(os.environ.get("HOLDFAST_SEED", "7"))
POINTS = int(os.environ.get("HOLDFAST_KILLS", "4"))


@pytest.fixture(scope="module")
def members(system: System) -> System:
    system.kubectl("create", "-f", str(TUTORIAL / "service.yaml"), "-f", str(TUTORIAL / "statefulset.yaml"))
    system.wait_ready("web-0", "web-1")
    return system


def state(system: System) -> dict[str, tuple[str, int, str]]:
    """Per member: uid, restartCount and the start of its container."""
    out = {}
    for name in ("web-0", "web-1"):
        pod = system.get("pod", name)
        status = pod["status"]["containerStatuses"][0]
        out[name] = (pod["metadata"]["uid"], status["restartCount"], status["state"]["running"]["startedAt"])
    return out


def first_pid(system: System, pod: str) -> str:
    """When PID 1 of a member started, in ticks: another process would show another number."""
    return system.kubectl("exec", pod, "--", "sh", "-c", "cut -d' ' -f22 /proc/1/stat").strip()


def test_killed_processes_lose_nothing(members: System) -> None:
    dice = random.Random(SEED)
    for _ in range(POINTS):
        before, pids = state(members), {p: first_pid(members, p) for p in ("web-0", "web-1")}
        seen = int(members.api.request("GET", "/api/v1/pods")["metadata"]["resourceVersion"])
        members.kubectl("create", "configmap", f"mark-{seen}", "--from-literal=k=v")
        for role in dice.choice((["server"], ["node"], ["server", "node"])):
            members.kill(role)
        members.up()
        assert members.get("configmap", f"mark-{seen}")["data"] == {"k": "v"}
        assert int(members.api.request("GET", "/api/v1/pods")["metadata"]["resourceVersion"]) > seen
        members.wait_ready("web-0", "web-1")
        assert state(members) == before, f"seed {SEED}"
        assert {p: first_pid(members, p) for p in pids} == pids, f"seed {SEED}"


def test_streams_after_kills(members: System) -> None:
    done = members.run("exec", "web-0", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "err" in done.stderr
    assert "web-1" in members.kubectl("exec", "web-1", "--", "hostname")


def test_deletion_while_the_node_is_dead_completes_later(members: System) -> None:
    uid = members.get("pod", "web-1")["metadata"]["uid"]
    members.kill("node")
    members.kubectl("delete", "pod", "web-1", "--wait=false")
    assert members.get("pod", "web-1")["metadata"]["uid"] == uid, "only the node completes a deletion"
    members.up()
    members.until(lambda: (members.get("pod", "web-1") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid, "a new web-1", 60)
    members.wait_ready("web-1")
