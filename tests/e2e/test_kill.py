"""kill -9 of server, node and both, at seeded random points of real work: nothing is lost, members do not notice, the work goes on.

HOLDFAST_KILLS and HOLDFAST_SEED choose how many points and which (default: 6 of seed 7).
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from holdfast.cli import processes
from tests.system import TUTORIAL, System, ready
from tests.trace import pod_revision

SEED = int(os.environ.get("HOLDFAST_SEED", "7"))
POINTS = int(os.environ.get("HOLDFAST_KILLS", "6"))
ROLES = (["server"], ["node"], ["server", "node"])


def manifest() -> dict[str, Any]:
    """The tutorial's set; each member also writes a line a second to its log, ends on request, and says goodbye."""
    found: dict[str, Any] = yaml.safe_load((TUTORIAL / "statefulset.yaml").read_text())
    spec = found["spec"]["template"]["spec"]
    spec["terminationGracePeriodSeconds"] = 10
    loop = "n=$((n+1)); echo line $n; sleep 1 & wait $!"
    program = f"trap 'echo bye > /data/bye; exit 0' TERM; n=0; while [ ! -e /data/end ]; do {loop}; done; exit 7"
    probe = {"exec": {"command": ["sh", "-c", "[ ! -e /data/sick ]"]}, "periodSeconds": 1, "failureThreshold": 2}
    mounts = [{"name": "www", "mountPath": "/data", "subPath": "data"}]
    side = {"name": "side", "image": "busybox", "command": ["sh", "-c", program], "livenessProbe": probe, "volumeMounts": mounts}
    spec["containers"].append(side)
    return found


@pytest.fixture(scope="module")
def members(system: System) -> System:
    system.kubectl("create", "-f", str(TUTORIAL / "service.yaml"))
    system.create(manifest())
    system.wait_ready("web-0", "web-1")
    return system


def state(system: System, name: str) -> tuple[str, list[int], list[str], str]:
    """Uid, restart counts, starts of the containers, and when process 1 began in ticks: all stay while the member lives."""
    pod = system.get("pod", name)
    statuses = pod["status"]["containerStatuses"]
    began = system.kubectl("exec", name, "-c", "nginx", "--", "sh", "-c", "cut -d' ' -f22 /proc/1/stat").strip()
    return pod["metadata"]["uid"], [s["restartCount"] for s in statuses], [s["state"]["running"]["startedAt"] for s in statuses], began


class Work:
    """One piece of work: how it begins, and when it is done. web-0 has no part in it and must not notice anything."""

    def __init__(self, system: System, dice: random.Random) -> None:
        self.system = system
        self._dice = dice

    def begin(self) -> tuple[str, Callable[[], bool]]:
        name = self._dice.choice(("scale", "replace", "claim", "update"))
        return name, getattr(self, name)()

    def _all_ready(self, count: int) -> bool:
        pods = [self.system.get("pod", f"web-{n}") for n in range(count)]
        return all(ready(pod) for pod in pods) and len(self.system.get("pods", "-l", "app=nginx")["items"]) == count

    def scale(self) -> Callable[[], bool]:
        count = self._dice.choice((2, 3, 4))
        self.system.kubectl("scale", "statefulset", "web", f"--replicas={count}")
        return lambda: self._all_ready(count)

    def replace(self) -> Callable[[], bool]:
        before = self.system.get("pod", "web-1")["metadata"]["uid"]
        self.system.kubectl("delete", "pod", "web-1", "--wait=false")

        def done() -> bool:
            pod = self.system.get("pod", "web-1")
            return ready(pod) and pod["metadata"]["uid"] != before

        return done

    def claim(self) -> Callable[[], bool]:
        name = f"c{self._dice.randrange(10**9)}"
        resources = {"requests": {"storage": "300Mi"}}
        spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": resources}
        self.system.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
        container = {"name": "c", "image": "busybox", "command": ["sh", "-c", "echo x > /v/f"]}
        container["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]  # type: ignore[assignment]
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": name}}
        spec = {"restartPolicy": "OnFailure", "containers": [container], "volumes": [volume]}
        self.system.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        return lambda: self.system.get("pod", name)["status"].get("phase") == "Succeeded"

    def update(self) -> Callable[[], bool]:
        """Rolls every member but web-0."""
        value = str(self._dice.randrange(10**9))
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
        template = {"metadata": {"annotations": {"round": value}}}
        patch = yaml.safe_dump({"spec": {"updateStrategy": strategy, "template": template}})
        self.system.kubectl("patch", "statefulset", "web", "--patch", patch)

        def done() -> bool:
            pods = [p for p in self.system.get("pods", "-l", "app=nginx")["items"] if p["metadata"]["name"] != "web-0"]
            return all(ready(p) and (p["metadata"].get("annotations") or {}).get("round") == value for p in pods)

        return done


def newest(system: System) -> int:
    return int(system.api.request("GET", "/api/v1/pods")["metadata"]["resourceVersion"])


@pytest.mark.timeout(900)
def test_kills_at_random_points_of_the_work(members: System) -> None:
    dice = random.Random(SEED)
    before = state(members, "web-0")
    for point in range(POINTS):
        name, done = Work(members, dice).begin()
        threading.Event().wait(dice.uniform(0, 1.5))  # the point of the kill
        told = f"seed {SEED}, point {point}: {name}"
        mark = members.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "mark-"}, "data": {"k": told}})
        for role in dice.choice(ROLES):
            members.kill(role)
        members.up()
        kept = members.get("configmap", mark["metadata"]["name"])
        assert kept["data"] == {"k": told}
        assert newest(members) >= pod_revision(kept) == pod_revision(mark), told
        members.until(done, f"the work is done: {told}", 90)
        assert state(members, "web-0") == before, told


def test_members_serve_as_before(members: System) -> None:
    members.kubectl("scale", "statefulset", "web", "--replicas=2")
    members.until(lambda: len(members.get("pods", "-l", "app=nginx")["items"]) == 2, "two members", 60)
    done = members.run("exec", "web-0", "-c", "side", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "err" in done.stderr
    members.kubectl("create", "-f", str(TUTORIAL / "vip-service.yaml"))
    members.kubectl("exec", "web-1", "-c", "nginx", "--", "sh", "-c", "hostname > /usr/share/nginx/html/index.html")
    ask = ("exec", "web-0", "-c", "nginx", "--", "wget", "-q", "-O", "-")
    assert members.kubectl(*ask, "http://web-1.nginx/").strip() == "web-1"
    members.until(lambda: "web-1" in members.kubectl(*ask, "http://web-vip/", check=False), "the VIP leads to web-1", 20)


def test_logs_go_on_with_the_older_lines(members: System) -> None:
    follow = members.start_kubectl("logs", "-f", "web-0", "-c", "side")
    assert follow.stdout is not None
    wanted = f"line {newest_line(members) + 2}"
    lines: list[str] = []
    while not lines or lines[-1] not in ("", wanted):
        lines.append(follow.stdout.readline().strip())
    follow.terminate()
    follow.wait()
    assert lines == [f"line {n}" for n in range(1, len(lines) + 1)], "from the first line on, none missing, none twice"


def newest_line(system: System) -> int:
    text = system.kubectl("logs", "web-0", "-c", "side", "--tail=1").split()
    return int(text[1]) if text else 0


def test_restart_on_exit_and_on_a_failing_probe(members: System) -> None:
    def side() -> dict[str, Any]:
        statuses = members.get("pod", "web-0")["status"]["containerStatuses"]
        found: dict[str, Any] = next(s for s in statuses if s["name"] == "side")
        return found

    assert side()["restartCount"] == 0
    members.kubectl("exec", "web-0", "-c", "side", "--", "touch", "/data/end")
    members.until(lambda: side()["lastState"].get("terminated", {}).get("exitCode") == 7, "the exit code is told", 20)
    members.kubectl("exec", "web-0", "-c", "nginx", "--", "rm", "/usr/share/nginx/html/data/end")
    members.until(lambda: side()["restartCount"] >= 1 and side()["ready"], "it runs again", 60)
    count = side()["restartCount"]
    members.kubectl("exec", "web-0", "-c", "side", "--", "touch", "/data/sick")
    members.until(lambda: side()["restartCount"] > count, "a failing liveness probe restarts it", 40)
    members.kubectl("exec", "web-0", "-c", "nginx", "--", "rm", "/usr/share/nginx/html/data/sick")
    members.until(lambda: ready(members.get("pod", "web-0")), "it is well", 60)


def test_up_returns_when_both_serve(members: System) -> None:
    for role in ("node", "server", "node"):
        members.kill(role)
        members.up()
        assert all(processes.find(members.data, each, serves=each == "node") for each in processes.ROLES)
        assert members.kubectl("exec", "web-0", "-c", "nginx", "--", "hostname") == "web-0\n"


def test_a_graceful_end_after_all_that(members: System) -> None:
    members.kubectl("exec", "web-1", "-c", "side", "--", "rm", "-f", "/data/bye")
    members.kill("node")
    uid = members.get("pod", "web-1")["metadata"]["uid"]
    members.kubectl("delete", "pod", "web-1", "--wait=false")
    assert members.get("pod", "web-1")["metadata"]["uid"] == uid, "only the node completes a deletion"
    members.up()
    members.until(lambda: (members.get("pod", "web-1") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid, "a new web-1", 60)
    members.wait_ready("web-1")
    assert members.kubectl("exec", "web-1", "-c", "side", "--", "cat", "/data/bye") == "bye\n"


def test_a_killed_shim_ends_its_member_alone(members: System) -> None:
    """The container does not outlive the one that keeps its fence; the pod starts it again."""
    before = state(members, "web-1")
    pod = members.get("pod", "web-0")
    instance = next(members.data.glob(f"node/instances/{pod['metadata']['uid']}_nginx_*"))
    shim = next(int(p) for p in os.listdir("/proc") if p.isdigit() and holds(int(p), instance / "lock"))
    os.kill(shim, 9)

    def restarted() -> bool:
        statuses = {s["name"]: s for s in members.get("pod", "web-0")["status"]["containerStatuses"]}
        return bool(statuses["nginx"]["restartCount"] == 1 and statuses["nginx"]["ready"])

    members.until(restarted, "nginx of web-0 runs again", 40)
    assert state(members, "web-1") == before


def holds(pid: int, path: os.PathLike[str]) -> bool:
    try:
        return str(path) in {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    except OSError:
        return False
