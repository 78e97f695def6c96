"""``holdfast up``: both processes, then the manifests, then (unless detached) a wait until it is told to stop.

The server is ready when /readyz answers; a process that ends before that takes ``up`` with it, in its
own last words. A second ``up`` on running data is refused before anything is touched.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import click

from holdfast.cli import down, manifests, processes
from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube, Refused
from holdfast.system.settings import Settings

READY_SECONDS = 60


def run(settings: Settings, files: list[Path], *, detach: bool) -> None:
    objects = [(path, obj) for path in files for obj in manifests.load(path)]
    kube = start(settings)
    click.echo(f"export KUBECONFIG={settings.kubeconfig}")
    try:
        for path, obj in objects:
            apply(kube, path, obj)
        if detach:
            return
        click.echo("running; Ctrl-C stops the members gracefully and keeps their data")
        _wait_for_signal()
    finally:
        if not detach:
            down.run(settings)


def start(settings: Settings) -> Kube:
    """Starts the roles that do not run and returns a client once the API is ready."""
    _refuse_second(settings)
    if not (shutil.which("runc", path=_PATH) or shutil.which("crun", path=_PATH)):
        raise UserError("pods need runc (or crun) and neither is installed: apt-get install runc")
    (settings.data / "run").mkdir(parents=True, exist_ok=True)
    (settings.data / "run" / "down").unlink(missing_ok=True)
    common = ["--node-name", settings.node_name]
    listen = ["--listen", f"{settings.host}:{settings.port}"] if settings.port is not None else []
    store = ["--store", settings.store] if settings.store else []
    begun = time.time()
    arguments = {"server": [*common, *listen, *store], "node": [*common, "--runtime", settings.runtime]}
    missing = [role for role in processes.ROLES if not processes.find(settings.data, role)]
    children = [(role, processes.spawn(settings.data, role, arguments[role])) for role in missing]
    if "server" not in missing:
        begun = 0.0
    try:
        return _wait_ready(settings, children, begun)
    except BaseException:
        for role, child in children:
            if child.poll() is None:
                processes.end(settings.data, role, 10)
            if child.poll() is None:
                child.terminate()
        raise


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _refuse_second(settings: Settings) -> None:
    """One role that is left over is no second ``up``: the other one was killed, and is started beside it."""
    pids = {role: processes.find(settings.data, role) for role in processes.ROLES}
    if all(pids.values()):
        text = f"holdfast runs already on {settings.data} (server pid {pids['server']}, node pid {pids['node']})"
        raise UserError(f"{text}; `holdfast down --data {settings.data}` stops it")


def _wait_ready(settings: Settings, children: list[tuple[str, subprocess.Popen[bytes]]], begun: float) -> Kube:
    deadline = time.monotonic() + READY_SECONDS
    kube: Kube | None = None
    while time.monotonic() < deadline:
        for role, child in children:
            if child.poll() is not None:
                raise UserError(processes.last_words(settings.data, role).removeprefix("holdfast: ") or f"the {role} ended at once")
        if kube is None and _written_since(settings.kubeconfig, begun):
            kube = Kube(settings.kubeconfig)
        if kube is not None and kube.ready():
            return kube
        time.sleep(0.02)
    raise UserError(f"the API is not ready after {READY_SECONDS} s; see {settings.data}/log/server.log")


def _written_since(path: Path, begun: float) -> bool:
    """The server writes the kubeconfig at each start, so an older one may name another port."""
    try:
        return path.stat().st_mtime >= begun - 0.01
    except OSError:
        return False


def apply(kube: Kube, path: Path, obj: dict[str, object]) -> None:
    metadata = obj.get("metadata")
    name = f"{str(obj['kind']).lower()}/{metadata.get('name', '') if isinstance(metadata, dict) else ''}"
    try:
        kube.create(obj)
    except Refused as refused:
        if refused.status.get("reason") == "AlreadyExists":
            click.echo(f"{name} exists already, left as it is")
            return
        raise UserError(f"{path}: {name}: {refused.message}") from refused
    click.echo(f"{name} created")


def _wait_for_signal() -> None:
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    signal.sigwait(signals)
