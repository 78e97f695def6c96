"""PostgreSQL under write load, while its members, the node and the server are killed with -9 at random: every acknowledged row stays.

Some kills strike inside a step of the storage: a volume that is being made, mounted, or given back. After each the fence and
the marker of both volumes are looked at. HOLDFAST_KILLS and HOLDFAST_SEED say how many (default 5; ``make soak``: 50) and which.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.processes import ROLES
from tests.system import ROOT, System, ready

SEED = int(os.environ.get("HOLDFAST_SEED", "7"))
KILLS = int(os.environ.get("HOLDFAST_KILLS", "5"))
EXAMPLE = ROOT / "examples" / "postgres"
MEMBERS = ("pg-0", "pg-1")
PODS, CLAIMS = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/persistentvolumeclaims"
TARGET = "host=pg-0.pg user=postgres connect_timeout=2 keepalives_idle=1 keepalives_interval=1 keepalives_count=2 tcp_user_timeout=3000"
WRITER = 'n=0; while :; do n=$((n+1)); pg psql "$TARGET" -qc "insert into t values ($n)" 2>/dev/null && echo $n; sleep 0.02; done'
TRIES = 40
"""A window may be missed: then the same is tried again, and only a hit counts."""


def sql(system: System, member: str, text: str) -> str:
    return system.kubectl("exec", member, "--", "pg", "psql", "-h", "127.0.0.1", "-U", "postgres", "-qAtc", text)


@pytest.fixture(scope="module")
def postgres(system: System) -> System:
    system.holdfast("image", "build", str(EXAMPLE / "postgres.image.yaml"), "--data", str(system.data))
    system.kubectl("create", "-f", str(EXAMPLE / "postgres.yaml"))
    system.wait_ready(*MEMBERS)
    sql(system, "pg-0", "create table t (n int primary key)")
    secret = {"secretKeyRef": {"name": "pg", "key": "password"}}
    environment = [{"name": "TARGET", "value": TARGET}, {"name": "PGPASSWORD", "valueFrom": secret}]
    container = {"name": "load", "image": "postgres", "command": ["sh", "-c", WRITER], "env": environment}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    system.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "load"}, "spec": spec})
    system.wait_ready("load")
    return system


class Kills:
    """Each method kills once and says whether it struck where it was meant to."""

    def __init__(self, system: System, dice: random.Random) -> None:
        self._system = system
        self._dice = dice
        self._epochs: dict[str, int] = {}
        self._claims = 0

    def _ask(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._system.api.request("GET", path)
        return found

    def server(self) -> bool:
        return self._kill("server")

    def node(self) -> bool:
        return self._kill("node")

    def both(self) -> bool:
        return self._kill("server", "node")

    def primary(self) -> bool:
        return self._end("pg-0")

    def replica(self) -> bool:
        return self._end("pg-1")

    def _kill(self, *roles: str) -> bool:
        for role in roles:
            self._system.kill(role)
        return True

    def _end(self, member: str) -> bool:
        """Process 1 of the member, which starts again in the same pod."""
        before = self._restarts(member)
        os.kill(self._process(self._uid(member)), signal.SIGKILL)
        self._system.until(lambda: self._restarts(member) > before, f"{member} is started again", 60)
        return True

    def _restarts(self, member: str) -> int:
        statuses = self._ask(f"{PODS}/{member}")["status"].get("containerStatuses") or [{"restartCount": 0}]
        return int(statuses[0]["restartCount"])

    def _uid(self, member: str) -> str:
        return str(self._ask(f"{PODS}/{member}")["metadata"]["uid"])

    def _process(self, uid: str) -> int:
        """0 when none runs."""
        for file in self._system.data.glob(f"node/instances/{uid}_*/pid"):
            pid = int(file.read_text().split()[0] or 0)
            if Path(f"/proc/{pid}").exists():
                return pid
        return 0

    def _watch(self, begun: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not begun():
            assert time.monotonic() < deadline, "the step does not begin"

    def provision(self) -> bool:
        """A claim has its node, and no volume yet."""
        self._claims += 1
        name = f"c{self._claims}"
        spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "300Mi"}}}
        self._system.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
        container = {"name": "c", "image": "busybox", "command": ["true"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]
        self._system.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {"restartPolicy": "OnFailure", "containers": [container], "volumes": volumes},
            }
        )

        def state() -> tuple[bool, bool]:
            claim = self._ask(f"{CLAIMS}/{name}")
            chosen = "volume.kubernetes.io/selected-node" in (claim["metadata"].get("annotations") or {})
            return chosen, bool(claim["spec"].get("volumeName"))

        self._watch(lambda: state()[0])
        self._system.kill("node")
        hit = not state()[1]
        self._system.up()
        self._system.until(lambda: self._ask(f"{PODS}/{name}")["status"].get("phase") == "Succeeded", f"{name} has had its volume")
        self._system.kubectl("delete", f"pod/{name}", f"pvc/{name}")
        return hit

    def mount(self) -> bool:
        """The new pod has its node, and nothing of it runs yet."""
        member = self._dice.choice(MEMBERS)
        old = self._uid(member)
        self._system.kubectl("delete", "pod", member, "--wait=false")
        pod: dict[str, Any] = {}

        def begun() -> bool:
            found = self._system.get("pod", member)
            pod.update(found or {})
            return found is not None and found["metadata"]["uid"] != old and "nodeName" in found["spec"]

        self._watch(begun)
        time.sleep(self._dice.uniform(0, 0.05))  # where in the step
        self._system.kill("node")
        return not self._process(pod["metadata"]["uid"])

    def unmount(self) -> bool:
        """Nothing of the pod runs any more, and its record is still there: its volume is being given back."""
        member = self._dice.choice(MEMBERS)
        uid = self._uid(member)
        pid = self._process(uid)
        self._system.kubectl("delete", "pod", member, "--wait=false")
        self._watch(lambda: not Path(f"/proc/{pid}").exists())
        time.sleep(self._dice.uniform(0, 0.03))  # where in the step
        self._system.kill("node")
        found = self._system.get("pod", member)
        return found is not None and found["metadata"]["uid"] == uid

    # Afterwards

    def settle(self, told: str) -> None:
        if not all(self._system.pid(role) for role in ROLES):
            self._system.up()
        self._system.wait_ready(*MEMBERS)
        for member in MEMBERS:
            self._check(member, told)

    def _check(self, member: str, told: str) -> None:
        """The volume is the member's own, and nobody else holds it."""
        uid = self._uid(member)
        volume = self._ask(f"{CLAIMS}/data-{member}")["spec"]["volumeName"]
        metadata = self._ask(f"/api/v1/persistentvolumes/{volume}")["metadata"]
        fence = json.loads(metadata["annotations"]["holdfast.io/fence"])
        assert (fence["podUID"], fence["released"]) == (uid, False), told
        assert fence["epoch"] >= self._epochs.get(volume, 0), told
        self._epochs[volume] = fence["epoch"]
        kept = self._system.data / "volumes"
        assert json.loads((kept / "fences" / volume).read_text()) == fence, told
        assert json.loads((kept / "mounts" / volume / "holdfast.json").read_text())["volume"] == volume, told


INSIDE = ("provision", "mount", "unmount")
ANYWHERE = ("primary", "replica", "server", "node", "both")


def chosen(dice: random.Random) -> list[str]:
    """Every third inside a step of the storage, each kind about as often."""
    inside = [INSIDE[n % len(INSIDE)] for n in range(-(-KILLS // 3))]
    elsewhere = [ANYWHERE[n % len(ANYWHERE)] for n in range(KILLS - len(inside))]
    kinds = inside + elsewhere
    dice.shuffle(kinds)
    return kinds


def acknowledged(system: System) -> set[int]:
    return {int(line) for line in system.kubectl("logs", "load").split()}


@pytest.mark.timeout(3600)
def test_every_acknowledged_row_is_read_back_from_each_member(postgres: System) -> None:
    dice = random.Random(SEED)
    kills = Kills(postgres, dice)
    for number, kind in enumerate(chosen(dice)):
        told = f"seed {SEED}, kill {number}: {kind}"
        written = len(acknowledged(postgres))
        for _ in range(TRIES):
            time.sleep(dice.uniform(0, 0.5))  # the point of the kill
            hit = getattr(kills, kind)()
            kills.settle(told)
            if hit:
                break
        assert hit, f"{told}: never struck inside"
        postgres.until(lambda before=written: len(acknowledged(postgres)) > before, f"rows are written again: {told}", 60)
    _read_back(postgres)


def _read_back(system: System) -> None:
    before = acknowledged(system)
    assert len(before) > 20
    at = sql(system, "pg-0", "select pg_current_wal_flush_lsn()").strip()
    system.until(lambda: sql(system, "pg-1", f"select pg_last_wal_replay_lsn() >= '{at}'").strip() == "t", "pg-1 has caught up")
    for member in MEMBERS:
        rows = {int(line) for line in sql(system, member, "select n from t").split()}
        lost = sorted(before - rows)
        assert not lost, f"{member} has lost acknowledged rows {lost[:10]} of {len(before)}"
    assert all(ready(system.get("pod", member)) for member in MEMBERS)
