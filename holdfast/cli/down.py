"""``holdfast down`` and ``reset``: members stop gracefully, then node and server; reset then removes the data.

The file DATA/run/down tells the node that this TERM means "stop everything", not "restart": without
it a node that ends leaves its members running.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import click

from holdfast.cli import processes, starting
from holdfast.cli.errors import UserError
from holdfast.system.settings import Settings

NODE_SECONDS = 120
SERVER_SECONDS = 20


def run(settings: Settings) -> None:
    stop(settings)
    click.echo("stopped; objects and data stay")


def stop(settings: Settings) -> None:
    """Ends everything of ours. Where a process was killed it is started again: members end as they should, and it is recorded."""
    found = [bool(processes.find(settings.data, role)) for role in processes.ROLES]
    if not all(found) and (any(found) or _has_remains(settings)):
        starting.start(settings)
    marker = settings.data / "run" / "down"
    if processes.find(settings.data, "node"):
        marker.touch()
        processes.end(settings.data, "node", NODE_SECONDS)
        marker.unlink(missing_ok=True)
    processes.end(settings.data, "server", SERVER_SECONDS)
    for directory in (settings.run, settings.run.parent):
        with contextlib.suppress(OSError):
            directory.rmdir()


def _has_remains(settings: Settings) -> bool:
    """Whether a node that was killed left members, mounts or networks behind."""
    return (settings.run / "netns").exists() or bool(mounted_below(settings.data))


def reset(settings: Settings) -> None:
    if not settings.data.exists():
        raise UserError(f"{settings.data}: there is no data here")
    if not (settings.data / "pki").exists() and any(settings.data.iterdir()):
        raise UserError(f"{settings.data} does not look like a holdfast data directory; nothing was removed")
    stop(settings)
    mounts = mounted_below(settings.data)
    if mounts:
        raise UserError(f"still mounted: {', '.join(mounts)}; nothing was removed: unmount them first")
    shutil.rmtree(settings.data)
    shutil.rmtree(settings.run, ignore_errors=True)
    click.echo(f"removed {settings.data}")


def mounted_below(directory: Path) -> list[str]:
    """Mount points at or below a directory: removing files there would reach through them."""
    root = os.path.realpath(directory)
    points = [line.split()[4].encode().decode("unicode_escape") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point == root or point.startswith(root + "/")]
