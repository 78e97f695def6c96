"""Mounting image files and devices where a volume is wanted, and letting go of them. Blocking functions; any engine's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from holdfast.lib import privileged
from holdfast.volumes import filesystems
from holdfast.volumes.api import VolumeError


def attach(
    image: Path, target: Path, *, kind: str = "xfs", options: Iterable[str] = (), read_only: bool = False, direct: bool = False
) -> None:
    """Mounts an image file, so that space freed in it is freed below it too; ``direct`` as loop devices take it. Idempotent.

    Raises VolumeError when something else is mounted there, or when it cannot be mounted.
    """
    present = privileged.find_mount(target)
    if present is not None:
        if present.source in privileged.loops_of(image):
            return
        raise VolumeError(f"{target} is in use by {present.source}; {image} cannot be mounted there")
    try:
        if not privileged.loops_of(image):
            filesystems.prepare(image, image.stat().st_size)
        empty_directory(target)
        with privileged.loop_device(image, direct=direct) as device:
            mount(device, target, kind, options=options, read_only=read_only)
    except OSError as error:
        raise VolumeError(f"{image} cannot be mounted: {error.strerror or error}") from error


def mount(device: str, target: Path, kind: str, *, options: Iterable[str] = (), read_only: bool = False) -> None:
    """Mounts a device, hidden from other mount namespaces, which would pin it. Raises VolumeError naming refused options."""
    flags, text = privileged.mount_options([filesystems.kind_of(kind).options, *options])
    try:
        privileged.mount(device, target, kind or "xfs", flags | (privileged.MS_RDONLY if read_only else 0), text)
    except OSError as error:
        given = ",".join(options)
        if given and error.errno == 22:
            raise VolumeError(f"{target}: {kind} refuses to be mounted with the options {given} (mountOptions)") from error
        raise
    privileged.make_private(target)


def empty_directory(target: Path) -> None:
    """A mount point that hides nothing (R-35). Raises VolumeError when something lies there; it is left alone."""
    target.mkdir(parents=True, exist_ok=True)
    if found := os.listdir(target):
        text = f"{target} is not mounted and not empty ({found[0]}): something was written beside its volume"
        raise VolumeError(f"{text}; move it away, nothing is removed")


def detach(target: Path, *, patience: float = 10.0) -> None:
    """Unmounts; idempotent. Raises VolumeError while something uses it (for longer than ``patience`` seconds)."""
    try:
        privileged.unmount(target, patience=patience)
    except OSError as error:
        raise VolumeError(f"{target} is still in use and stays mounted: {error.strerror or error}") from error
    try:
        target.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        # rmdir only: what lies in a directory that was never mounted is somebody's.
        raise VolumeError(f"{target} is unmounted and is not removed: {error.strerror}; look at what lies in it") from error


def room(mounted: Path) -> int:
    """Bytes of file data that still fit."""
    found = os.statvfs(mounted)
    return found.f_bavail * found.f_frsize
