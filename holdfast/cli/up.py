"""``holdfast up``: both processes, then the manifests, then (unless detached) a wait until it is told to stop.

A second ``up`` on running data is refused before anything is touched (``starting``).
"""

from __future__ import annotations

import signal
from pathlib import Path

import click

from holdfast.cli import down, manifests, starting
from holdfast.cli.errors import UserError
from holdfast.cli.kube import Kube, Refused
from holdfast.system.settings import Settings


def run(settings: Settings, files: list[Path], *, detach: bool) -> None:
    objects = [(path, obj) for path in files for obj in manifests.load(path)]
    kube = starting.start(settings)
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
