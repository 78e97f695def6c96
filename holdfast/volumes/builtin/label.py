"""What an image file says of itself, in an extended attribute: it goes with the file wherever that is moved, and not with its bytes.

A volume with a file system has its marker inside as well; a bare device has nothing but this. ``fresh`` means that the
marker is not there yet: it is written when the volume is first mounted.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.volumes.api import VolumeError

_NAME = "user.holdfast"


@dataclass(frozen=True)
class Label:
    volume: str
    capacity: int
    """Bytes of file data, or of the device, that were promised."""
    fs: str
    """"" for a bare device."""
    fresh: bool = False
    trash_hours: float = 0.0


def write(image: Path, label: Label, *, durable: bool = True) -> None:
    """With the file itself, unless that is left to some later write."""
    handle = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.setxattr(handle, _NAME, json.dumps(asdict(label)).encode())
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def read(image: Path, handle: str) -> Label:
    """Raises VolumeError when the file is missing or is not the volume ``handle`` (P-5)."""
    try:
        found = Label(**json.loads(os.getxattr(image, _NAME)))
    except FileNotFoundError:
        raise VolumeError(f"volume {handle} is not on this node: {image} is missing; nothing is made in its place") from None
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENODATA:
            raise VolumeError(f"{image} cannot be read: {error.strerror}") from error
        raise VolumeError(f"{image} is not volume {handle}: it has no label; nothing starts on it") from None
    if found.volume != handle:
        raise VolumeError(f"{image} is not volume {handle}: it says it is {found.volume}; nothing starts on it")
    return found
