"""A whole running system for tests: ``holdfast up --detach`` on a directory of its own, driven with stock kubectl."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdfast.cli import processes
from holdfast.cli.kube import Kube
from holdfast.lib.process import start_time

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = ROOT / "examples" / "tutorial"


def kubectl_path() -> str:
    found = shutil.which("kubectl")
    assert found, "these tests need kubectl: apt-get install kubernetes-client"
    return found


class System:
    """``data`` names it; ``up`` may be called again after ``down`` or ``kill``."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def holdfast(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "holdfast.cli.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        if check:
            assert done.returncode == 0, f"holdfast {' '.join(arguments)}: {done.stderr}{done.stdout}\n{self.logs()}"
        return done

    def up(self, *arguments: str) -> None:
        self.holdfast("up", "--detach", "--data", str(self.data), *arguments)

    def down(self) -> None:
        self.holdfast("down", "--data", str(self.data))

    def reset(self) -> None:
        self.holdfast("reset", "--yes", "--data", str(self.data))

    def build_nginx(self) -> None:
        self.holdfast("image", "build", str(TUTORIAL.parent / "nginx.image.yaml"), "--data", str(self.data))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.data / "kubeconfig")}

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None, timeout: float = 120) -> str:
        """stdout of kubectl; with check=False stdout and stderr together."""
        done = self.run(*arguments, stdin=stdin, timeout=timeout)
        if check:
            assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}\n{self.logs()}"
            return done.stdout
        return done.stdout + done.stderr

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [kubectl_path(), *arguments]
        return subprocess.run(command, env=self.environment, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)

    def start_kubectl(self, *arguments: str) -> subprocess.Popen[str]:
        command = [kubectl_path(), *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def get(self, *arguments: str) -> Any:
        """The decoded ``kubectl get -o json``; None when it is not there."""
        text = self.kubectl("get", *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def create(self, manifest: dict[str, Any]) -> None:
        self.kubectl("create", "-f", "-", stdin=json.dumps(manifest))

    def wait_ready(self, *pods: str, seconds: float = 90) -> None:
        for pod in pods:
            self.until(lambda pod=pod: ready(self.get("pod", pod)), f"{pod} is Ready", seconds)  # type: ignore[misc]

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
        """Waits for a condition by asking for it; fails with the logs."""
        deadline = time.monotonic() + seconds
        pause = 0.05
        while not condition():
            assert time.monotonic() < deadline, f"after {seconds} s not true: {what}\n{self.logs()}"
            time.sleep(pause)

    def wait_field(self, path: str, value: str, *objects: str, seconds: float = 60) -> None:
        """As ``kubectl wait --for=jsonpath=PATH=VALUE``, which kubectl before 1.23 has not."""
        for obj in objects:
            self.until(
                lambda obj=obj: self.run("get", obj, "-o", f"jsonpath={path}").stdout == value,  # type: ignore[misc]
                f"{obj}: {path} is {value}",
                seconds,
            )

    def wait_gone(self, *objects: str, seconds: float = 60) -> None:
        """As ``kubectl wait --for=delete``, which before 1.23 fails for what is gone already."""
        for obj in objects:
            self.until(lambda obj=obj: self.get(obj) is None, f"{obj} is gone", seconds)  # type: ignore[misc]

    @property
    def api(self) -> Kube:
        return Kube(self.data / "kubeconfig")

    def pid(self, role: str) -> int:
        return processes.find(self.data, role)

    def kill(self, role: str) -> None:
        pid = self.pid(role)
        assert pid, f"the {role} does not run"
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: not start_time(pid), f"{role} is gone", 10)

    def logs(self) -> str:
        out = []
        for role in processes.ROLES:
            path = self.data / "log" / f"{role}.log"
            if path.exists():
                out.append(f"--- {role}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-40:]))
        return "\n".join(out)


@contextlib.contextmanager
def running_system(data: Path) -> Iterator[System]:
    """A running system with the nginx image; nothing of it stays."""
    running = System(data)
    running.up("--listen", "127.0.0.1:0")
    try:
        running.build_nginx()
        yield running
    finally:
        running.down()
        running.reset()


def ready(pod: dict[str, Any] | None) -> bool:
    if not pod or pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
