"""``holdfast up --runtime simulated`` as somebody without root and runc uses it: stock kubectl, and nothing that runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import TUTORIAL, System

MEMBERS = ("web-0", "web-1")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("simulated") / "d")
    running.up("--runtime", "simulated", "--listen", "127.0.0.1:0")
    try:
        yield running
    finally:
        running.reset()


def _claims(system: System) -> dict[str, str]:
    return {c["metadata"]["name"]: c["spec"]["volumeName"] for c in system.get("pvc")["items"] if c["status"]["phase"] == "Bound"}


def test_sim_1_the_tutorial_in_order_and_a_deleted_member_comes_back_to_its_claim(simulated: System) -> None:
    for name in ("service.yaml", "statefulset.yaml"):
        simulated.kubectl("create", "-f", str(TUTORIAL / name))
    simulated.kubectl("rollout", "status", "sts/web", "--timeout=60s")
    pods = [simulated.get("pod", name) for name in MEMBERS]
    ready = [next(c for c in pod["status"]["conditions"] if c["type"] == "Ready") for pod in pods]
    assert ready[0]["lastTransitionTime"] <= pods[1]["metadata"]["creationTimestamp"]
    claims = _claims(simulated)
    assert set(claims) == {"www-web-0", "www-web-1"}

    simulated.kubectl("delete", "pod", "web-0", "--timeout=60s")
    simulated.wait_ready("web-0")
    again = simulated.get("pod", "web-0")
    assert again["metadata"]["uid"] != pods[0]["metadata"]["uid"]
    assert again["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "www-web-0"
    assert _claims(simulated) == claims

    simulated.kubectl("scale", "sts", "web", "--replicas=4")
    simulated.kubectl("rollout", "status", "sts/web", "--timeout=60s")
    simulated.kubectl("scale", "sts", "web", "--replicas=1")
    simulated.wait_gone("pod/web-3", "pod/web-2", "pod/web-1")
    assert [p["metadata"]["name"] for p in simulated.get("pods", "-l", "app=nginx")["items"]] == ["web-0"]
    assert set(_claims(simulated)) == {f"www-web-{number}" for number in range(4)}


def test_sim_2_a_pod_that_ends_is_completed_and_one_that_fails_has_failed(simulated: System) -> None:
    for name, command in (("short", ["sleep", "1"]), ("bad", ["false"])):
        container = {"name": "c", "image": "busybox", "command": command}
        simulated.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            }
        )
    simulated.wait_field("{.status.phase}", "Succeeded", "pod/short")
    simulated.wait_field("{.status.phase}", "Failed", "pod/bad")
    ended = simulated.get("pod", "short")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")


def test_sim_3_logs_exec_and_port_forward_are_refused_with_the_reason(simulated: System) -> None:
    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"]}
    simulated.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talk"}, "spec": {"containers": [container]}})
    simulated.wait_ready("talk")
    for arguments in (("logs", "talk"), ("logs", "talk", "--previous"), ("exec", "talk", "--", "ls"), ("attach", "talk")):
        done = simulated.run(*arguments)
        assert done.returncode != 0
        assert 'pod "talk" is on a simulated node (--runtime simulated): it has no logs' in done.stderr
    forward = simulated.start_kubectl("port-forward", "--address=127.0.0.1", "pod/talk", ":80")
    assert forward.stdout is not None
    said = forward.stdout.readline()
    if said.startswith("Forwarding from"):
        port = int(said.split("127.0.0.1:")[1].split()[0])
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
            assert connection.recv(1) == b""
        said = forward.stdout.readline() + forward.stdout.readline()
    assert "nothing listens in it" in said
    forward.terminate()
    forward.wait(10)


def test_sim_4_members_end_gracefully_and_begin_again_with_their_volumes(simulated: System) -> None:
    simulated.kubectl("delete", "sts,svc", "--all")
    simulated.kubectl("create", "-f", str(TUTORIAL / "statefulset.yaml"))
    simulated.kubectl("rollout", "status", "sts/web", "--timeout=60s")
    uids = {name: simulated.get("pod", name)["metadata"]["uid"] for name in MEMBERS}
    claims = _claims(simulated)
    simulated.down()
    simulated.up("--listen", "127.0.0.1:0")  # auto: what it was
    simulated.wait_ready(*MEMBERS)
    for name in MEMBERS:
        pod = simulated.get("pod", name)
        assert pod["metadata"]["uid"] == uids[name]
        simulated.until(lambda n=name: _restarts(simulated, n) >= 1, f"{name} was started again")  # type: ignore[misc]
    assert _claims(simulated) == claims


def _restarts(system: System, name: str) -> int:
    return int(system.get("pod", name)["status"]["containerStatuses"][0]["restartCount"])


def test_sim_5_a_killed_node_loses_its_processes_and_down_still_ends_all(simulated: System) -> None:
    simulated.kill("node")
    simulated.down()
    assert not simulated.pid("server")
    assert not simulated.pid("node")
    refused = simulated.holdfast("up", "--detach", "--data", str(simulated.data), "--runtime", "oci", check=False)
    assert refused.returncode == 1
    assert "of a node with --runtime simulated" in refused.stderr
    simulated.up("--listen", "127.0.0.1:0")


def test_sim_6_needs_no_root(tmp_path: Path) -> None:
    """As another user than root, without any capability, and with a PATH on which there is no runc."""
    unshare = shutil.which("unshare")
    assert unshare, "this test needs unshare: apt-get install util-linux"
    as_user = [unshare, "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/nowhere"}

    def holdfast(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*as_user, sys.executable, "-m", "holdfast.cli.main", *arguments, "--data", str(tmp_path / "d")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)

    started = holdfast("up", "--detach", "--runtime", "simulated", "--listen", "127.0.0.1:0")
    try:
        assert started.returncode == 0, started.stderr
        system = System(tmp_path / "d")
        system.kubectl("run", "one", "--image=busybox", "--", "sleep", "3600")
        system.wait_ready("one")
    finally:
        ended = holdfast("reset", "--yes")
    assert ended.returncode == 0, ended.stderr
