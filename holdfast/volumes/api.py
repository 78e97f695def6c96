"""A storage engine, shaped like CSI: no API objects, only handles, sizes and paths.

Used by ``node.volumes`` (stage, grow, unstage) and by ``controllers.provisioner`` (create, expand, delete), which runs on the node for
engines of its own disk and in the server for ``network`` ones. One package an engine, its ``engine.py`` the way in.
Every act may be asked for again after a crash at any point of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

BLOCK = {"volumeMode": "Block"}
FS_TYPE = "csi.storage.k8s.io/fstype"
"""The StorageClass parameter that names the file system."""


class VolumeError(Exception):
    """An engine's refusal; the text names the volume, the cause and the remedy."""


class VolumeLost(VolumeError):
    """What is mounted has stopped to work by itself (its daemon was killed): what uses it must end before it is mounted anew."""


class NeedsRemount(VolumeError):
    """Not while it is mounted: it is done when the volume is next mounted."""


@dataclass(frozen=True)
class Volume:
    """A provisioned volume: ``handle`` finds it again, ``capacity`` is in bytes of file data it holds."""

    handle: str
    capacity: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    """How it is reached, kept in its PersistentVolume (rbd: monitors, pool, image, user)."""
    admin: Mapping[str, str] = field(default_factory=dict)
    """Attributes that are others for who expands and deletes it."""
    fs_type: str = ""
    """The file system on it; "" for none (volumeMode Block), or when the engine leaves that to its first mount."""
    caveat: str = ""
    """What it does not keep of what was asked for, in words for the claim's owner."""


@dataclass(frozen=True)
class Source:
    """An existing volume, as its PersistentVolume (or a pod's own volume) describes it."""

    handle: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Decoded data of the Secret that its source names: never kept, never logged."""
    record: str = ""
    """Of one to be deleted: its PersistentVolume as JSON, for an engine that keeps removed volumes for a while."""


@dataclass(frozen=True)
class Staging:
    """How a volume is to be mounted at ``target``, a directory that the engine makes and removes."""

    target: str
    read_only: bool = False
    fs_type: str = ""
    """"" leaves it to the engine."""
    options: tuple[str, ...] = ()
    """Mount options of the StorageClass or PersistentVolume."""
    block: bool = False
    """The device itself is wanted, not a file system on it (volumeMode Block)."""
    former: Mapping[str, str] = field(default_factory=dict)
    """What ``holding`` said when it was last used, by one who may not use it any more: a client that still does is cut off first."""


class Engine(Protocol):
    name: str
    """The provisioner a StorageClass names, and the CSI driver or the source in a PersistentVolume."""
    network: bool
    """Reached from every node; otherwise a volume is on the disk of one node."""

    provisioner_secret: tuple[str, str]
    """The class parameters that name the Secret for create, expand and delete, and its namespace; ("", "") for none."""
    node_secret: tuple[str, str]
    """Likewise the Secret with which nodes mount."""

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        """Idempotent by handle. Raises VolumeError for parameters it does not know, or without room.

        ``parameters`` are those of the StorageClass, and ``BLOCK`` when a bare device is asked for.
        """

    async def delete(self, source: Source) -> None:
        """Removes the data. Idempotent. Raises VolumeError while it is staged."""

    async def expand(self, source: Source, capacity: int) -> int:
        """Makes what lies under the file system larger, whether it is in use or not, never smaller; the capacity now.

        Idempotent. Raises VolumeError.
        """

    async def stage(self, source: Source, staging: Staging) -> str:
        """Mounts it (verifying its identity) and returns the path members get: a directory, or with ``block`` a device. Idempotent."""

    async def grow(self, handle: str, target: str) -> None:
        """What is staged at ``target`` takes up what ``expand`` gave. Idempotent. Raises VolumeError, NeedsRemount."""

    async def unstage(self, handle: str, target: str) -> None:
        """Idempotent. Raises VolumeError while something uses it."""

    async def unused(self) -> Collection[str]:
        """Handles of volumes that were made and never mounted, as far as the engine knows that: with them nothing is lost."""

    def holding(self, target: str) -> Mapping[str, str]:
        """As whom the storage knows this node's use of what is staged there, and which volume it is; {} where it does not."""

    def on_lost(self, told: Callable[[str, str], None]) -> None:
        """``told(target, why)`` is called when what is staged there has stopped to work by itself."""

    async def close(self) -> None:
        """Lets go of pool mounts, daemons and loop devices; data stays."""


class Plain:
    """What an engine adds that mounts without Secrets, whose storage knows no clients, and of which no part ends by itself."""

    provisioner_secret = node_secret = ("", "")

    async def unused(self) -> Collection[str]:
        return ()

    def holding(self, target: str) -> Mapping[str, str]:
        return {}

    def on_lost(self, told: Callable[[str, str], None]) -> None:
        return
