"""``holdfast down`` and ``reset``: members stop gracefully, then node and server; reset then removes the data.

The file DATA/run/down tells the node that this TERM means "stop everything", not "restart": without
it a node that ends leaves its members running.
"""

from __future__ import annotations

import shutil

import click

from holdfast.cli import processes, starting
from holdfast.cli.errors import UserError
from holdfast.system.settings import Settings

NODE_SECONDS = 120
SERVER_SECONDS = 20


def run(settings: Settings) -> None:
    stopped = stop(settings)
    click.echo("stopped; objects and data stay" if stopped else f"nothing runs on {settings.data}")


def stop(settings: Settings) -> bool:
    """Ends everything of ours; False when there was nothing to end.

    Where a process was killed it is started again: members end as they should, and it is recorded.
    """
    found = [bool(processes.find(settings.data, role)) for role in processes.ROLES]
    remains = starting.has_remains(settings)
    if not all(found) and (any(found) or remains):
        starting.start(settings)
    marker = settings.data / "run" / "down"
    if processes.find(settings.data, "node"):
        marker.touch()
        processes.end(settings.data, "node", NODE_SECONDS)
        marker.unlink(missing_ok=True)
    processes.end(settings.data, "server", SERVER_SECONDS)
    starting.remove_run_directory(settings)
    return any(found) or remains


def reset(settings: Settings) -> None:
    if not settings.data.exists():
        raise UserError(f"{settings.data}: there is no data here")
    if not (settings.data / "pki").exists() and any(settings.data.iterdir()):
        raise UserError(f"{settings.data} does not look like a holdfast data directory; nothing was removed")
    stop(settings)
    mounts = starting.mounted_below(settings.data)
    if mounts:
        raise UserError(f"still mounted: {', '.join(mounts)}; nothing was removed: unmount them first")
    strangers = settings.strangers()
    for entry in settings.data.iterdir():
        if entry.name not in strangers:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    shutil.rmtree(settings.run, ignore_errors=True)
    if strangers:
        click.echo(f"removed what is holdfast's in {settings.data}; these are not, and stay: {', '.join(strangers)}")
        return
    settings.data.rmdir()
    click.echo(f"removed {settings.data}")
