"""What the demo does its steps with: kubectl where there is one, else our own small client.

Both show each step as the kubectl command that it is, then the answer.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Protocol

import click
import orjson

from holdfast.cli import manifests
from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube, Refused

_PODS = "/api/v1/namespaces/default/pods"
_PATHS = {
    "service": "/api/v1/namespaces/default/services",
    "pods": _PODS,
    "pvc": "/api/v1/namespaces/default/persistentvolumeclaims",
    "statefulset": "/apis/apps/v1/namespaces/default/statefulsets",
}


class Hands(Protocol):
    def create(self, path: Path) -> None: ...

    def get(self, resource: str, name: str = "", labels: str = "") -> str:
        """The table, also shown."""

    def pod(self, name: str) -> dict[str, Any]:
        """The Pod object; {} when there is none. Not shown."""

    def exec(self, pod: str, script: str, *, show: bool = True) -> str:
        """Output of ``sh -c script`` in a pod."""

    def delete_pods(self, labels: str) -> None: ...

    def watch_pods(self) -> None:
        """Begins to record ``get pods -w``."""

    def watched(self) -> list[str]: ...

    def close(self) -> None: ...


class Kubectl:
    """Runs the kubectl at ``path``."""

    def __init__(self, path: str, kubeconfig: Path) -> None:
        self.path = path
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self._watch: subprocess.Popen[bytes] | None = None
        self._trace = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the watch that writes it)

    def _run(self, *arguments: str, show: bool = True, may_fail: bool = False) -> str:
        if show:
            click.echo("\n$ kubectl " + " ".join(f"'{a}'" if " " in a else a for a in arguments))
        done = subprocess.run([self.path, *arguments], env=self.environment, capture_output=True, text=True, timeout=180, check=False)
        if show:
            click.echo((done.stdout + done.stderr).rstrip())
        if done.returncode and not may_fail:
            raise UserError(f"demo: kubectl {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def create(self, path: Path) -> None:
        self._run("create", "-f", str(path))

    def get(self, resource: str, name: str = "", labels: str = "") -> str:
        return self._run("get", resource, *([name] if name else []), *(["-l", labels] if labels else []))

    def pod(self, name: str) -> dict[str, Any]:
        out = self._run("get", "pod", name, "-o", "json", "--ignore-not-found", show=False)
        return orjson.loads(out) if out.strip() else {}

    def exec(self, pod: str, script: str, *, show: bool = True) -> str:
        return self._run("exec", pod, "--", "sh", "-c", script, show=show, may_fail=not show)

    def delete_pods(self, labels: str) -> None:
        self._run("delete", "pod", "-l", labels)

    def watch_pods(self) -> None:
        command = [self.path, "get", "pods", "-w", "-l", "app=nginx"]
        self._watch = subprocess.Popen(command, env=self.environment, stdout=self._trace, stderr=subprocess.DEVNULL)

    def watched(self) -> list[str]:
        time.sleep(0.5)  # kubectl prints a little behind the events that we saw ourselves
        self.close()
        self._trace.seek(0)
        return self._trace.read().decode().strip().splitlines()

    def close(self) -> None:
        if self._watch:
            self._watch.terminate()
            self._watch.wait()
            self._watch = None


class OwnClient:
    """The same steps over ``cli.kube``."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._lines: list[str] = []

    def create(self, path: Path) -> None:
        click.echo(f"\n$ kubectl create -f {path}")
        for obj in manifests.load(path):
            created = self.kube.create(obj)
            click.echo(f"{created['kind'].lower()}/{created['metadata']['name']} created")

    def get(self, resource: str, name: str = "", labels: str = "") -> str:
        click.echo("\n$ kubectl get " + " ".join(filter(None, [resource, name, f"-l {labels}" if labels else ""])))
        path = _PATHS[resource] + (f"/{name}" if name else "") + (f"?labelSelector={labels}" if labels else "")
        table = self.kube.table(path)
        click.echo(table)
        return table

    def pod(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.kube.request("GET", f"{_PODS}/{name}")
        except Refused as refused:
            if refused.status.get("code") == 404:
                return {}
            raise
        return found

    def exec(self, pod: str, script: str, *, show: bool = True) -> str:
        code, output = self.kube.exec(pod, ["sh", "-c", script])
        if show:
            click.echo(f"\n$ kubectl exec {pod} -- sh -c '{script}'\n{output.rstrip()}")
            if code:
                raise UserError(f"demo: exec in {pod} ended with {code}")
        return output

    def delete_pods(self, labels: str) -> None:
        click.echo(f"\n$ kubectl delete pod -l {labels}")
        for pod in self.kube.request("GET", f"{_PODS}?labelSelector={labels}")["items"]:
            self.kube.request("DELETE", f"{_PODS}/{pod['metadata']['name']}")
            click.echo(f'pod "{pod["metadata"]["name"]}" deleted')

    def watch_pods(self) -> None:
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for event in self.kube.watch(_PODS, labelSelector="app=nginx"):
            pod = event["object"]
            ready = [c["ready"] for c in pod.get("status", {}).get("containerStatuses") or [{"ready": False}]]
            self._lines.append(f"{pod['metadata']['name']}   {sum(ready)}/{len(ready)}   {pod['status'].get('phase')}")

    def watched(self) -> list[str]:
        return list(self._lines)

    def close(self) -> None:
        """The watch thread ends with the process."""
