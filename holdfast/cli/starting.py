"""Starting the roles that do not run, and waiting until they serve: for ``up``, ``demo``, and for ``down`` after a kill.

The server is ready when /readyz answers, the node when it says so in its pid file; a process that ends before that
ends this command, in its own last words.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from holdfast.cli import processes
from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube
from holdfast.lib import programs
from holdfast.system.settings import Settings

READY_SECONDS = 60


def start(settings: Settings) -> Kube:
    """Starts the roles that do not run and returns a client once the API is ready."""
    _refuse_second(settings)
    if settings.node_runtime == "oci" and os.geteuid() != 0:
        raise UserError("pods need root (namespaces, mounts, cgroups): run it as root, or with --runtime simulated, where nothing runs")
    if settings.node_runtime == "oci" and not (programs.find("runc") or programs.find("crun")):
        raise UserError(
            "pods need runc (or crun) and neither is installed: apt-get install runc (or --runtime simulated, where nothing runs)"
        )
    refuse_foreign(settings)
    settings.make_data()
    (settings.data / "run").mkdir(exist_ok=True)
    (settings.data / "run" / "down").unlink(missing_ok=True)
    common = ["--node-name", settings.node_name]
    listen = ["--listen", f"{settings.host}:{settings.port}"] if settings.port is not None else []
    store = ["--store", settings.store] if settings.store else []
    security = ["--pod-security", settings.pod_security]
    volumes = ["--volumes", settings.volumes, "--trash-hours", str(settings.trash_hours)]
    begun, remains = time.time(), has_remains(settings)
    arguments = {"server": [*common, *listen, *store, *security], "node": [*common, "--runtime", settings.runtime, *volumes]}
    missing = [role for role in processes.ROLES if not processes.find(settings.data, role)]
    children = [(role, processes.spawn(settings.data, role, arguments[role])) for role in missing]
    if "server" not in missing:
        begun = 0.0
    try:
        return _wait_ready(settings, children, begun)
    except BaseException:
        _abandon(settings, children, clean=not remains)
        raise


def _abandon(settings: Settings, children: list[tuple[str, subprocess.Popen[bytes]]], *, clean: bool) -> None:
    """Ends what this command began. ``clean``: nothing ran before, so nothing may stay; else members go on as they were."""
    marker = settings.data / "run" / "down"
    if clean:
        marker.touch()
    for _, child in reversed(children):
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.terminate()
            child.wait(30)
        if child.poll() is None:
            child.kill()
    marker.unlink(missing_ok=True)
    remove_run_directory(settings)


def remove_run_directory(settings: Settings) -> None:
    """Gone when nothing is in it; its parent too when no other system runs."""
    for directory in (settings.run, settings.run.parent):
        with contextlib.suppress(OSError):
            directory.rmdir()


def has_remains(settings: Settings) -> bool:
    """Whether a node that was killed left members, mounts or networks behind."""
    return bool(mounted_below(settings.run) or mounted_below(settings.data))


def mounted_below(directory: Path) -> list[str]:
    """Mount points at or below a directory: removing files there would reach through them."""
    root = os.path.realpath(directory)
    points = [line.split()[4].encode().decode("unicode_escape") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point == root or point.startswith(root + "/")]


def _refuse_second(settings: Settings) -> None:
    """One role that is left over is no second ``up``: the other one was killed, and is started beside it."""
    pids = {role: processes.find(settings.data, role) for role in processes.ROLES}
    if all(pids.values()):
        text = f"holdfast runs already on {settings.data} (server pid {pids['server']}, node pid {pids['node']})"
        raise UserError(f"{text}; `holdfast down --data {settings.data}` stops it")


def refuse_foreign(settings: Settings) -> None:
    """What is put among somebody's files is removed with them one day: only an empty directory, or one of ours, is taken."""
    strangers = [] if settings.pki.exists() else [name for name in settings.strangers() if name != "lost+found"]
    if strangers:
        some = ", ".join(strangers[:3]) + (" ..." if len(strangers) > 3 else "")
        raise UserError(f"{settings.data} holds other things ({some}): give a new or an empty directory as --data")


def _wait_ready(settings: Settings, children: list[tuple[str, subprocess.Popen[bytes]]], begun: float) -> Kube:
    deadline = time.monotonic() + READY_SECONDS
    kube: Kube | None = None
    waited = "API", "server"
    while time.monotonic() < deadline:
        for role, child in children:
            if child.poll() is not None:
                raise UserError(processes.last_words(settings.data, role).removeprefix("holdfast: ") or f"the {role} ended at once")
        if kube is None and _written_since(settings.kubeconfig, begun):
            kube = Kube(settings.kubeconfig)
        if kube is not None and kube.ready():
            if processes.find(settings.data, "node", serves=True):
                return kube
            waited = "node", "node"
        time.sleep(0.02)
    raise UserError(f"the {waited[0]} is not ready after {READY_SECONDS} s; see {settings.data}/log/{waited[1]}.log")


def _written_since(path: Path, begun: float) -> bool:
    """The server writes the kubeconfig at each start, so an older one may name another port."""
    try:
        return path.stat().st_mtime >= begun - 0.01
    except OSError:
        return False
