"""An image that is attached to this node: found again by a record, never twice, never for writing beside another client.

The way to a device: image looked at > nobody else watches it > daemon started (or mapped by the kernel) > looked again: exactly
one client watches it, ours. A client that opens an image for writing watches it before it can write, so of two that open
it at once each sees the other, and both let go. Blocking; one caller at a time for one image.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from holdfast.lib import privileged
from holdfast.lib.process import start_time
from holdfast.volumes import filesystems
from holdfast.volumes.api import VolumeError, VolumeLost
from holdfast.volumes.rbd import cluster, daemon, kernel
from holdfast.volumes.rbd.cluster import Access, Image, Papers, Sight

RECORD = "record.json"


@dataclass
class Attachment:
    """``device`` is the kernel's, or "" where the daemon ``pid`` serves the image as a file."""

    monitors: list[str]
    pool: str
    image: str
    user: str
    identity: str
    image_id: str
    read_only: bool
    device: str = ""
    pid: int = 0
    started: int = 0
    conf: int = -1
    key: int = -1
    client: str = ""
    """The address by which the cluster knows who may write; "" when it only reads."""
    handle: str = ""
    """Of a volume that was made here; "" for an image of somebody's."""
    targets: list[str] = field(default_factory=list)
    """Where it is mounted or being mounted."""
    ready: list[str] = field(default_factory=list)
    """Those of them where members may be."""

    @property
    def name(self) -> str:
        return f"{self.pool}/{self.image}"

    @property
    def access(self) -> Access:
        """Without the key: for commands that borrow the daemon's papers."""
        return Access(tuple(self.monitors), self.pool, self.image, self.user, "")

    @property
    def papers(self) -> Papers:
        return Papers(self.conf, self.key, str(self.pid))

    @property
    def works(self) -> bool:
        return daemon.runs(self.pid, self.started) if self.pid else kernel.is_there(self.device, self.image_id)


def identity(reached: Access, image: Image) -> str:
    return f"{reached.pool}/{image.id} of {image.made}"


def directory(root: Path, which: str) -> Path:
    """Where the record of the image with that identity lies."""
    return root / hashlib.sha256(which.encode()).hexdigest()[:16]


def load(place: Path) -> Attachment | None:
    """Raises VolumeError when the record cannot be read: then nothing is attached on a guess."""
    try:
        return Attachment(**json.loads((place / RECORD).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise VolumeError(f"{place / RECORD} cannot be read ({error}); when no image is attached on this node, remove it") from None


def save(place: Path, attached: Attachment) -> None:
    temporary = place / "record.tmp"
    with temporary.open("w") as file:
        json.dump(asdict(attached), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, place / RECORD)


def by_target(root: Path, target: str) -> tuple[Path, Attachment] | None:
    for place in sorted(root.glob("*/")):
        found = load(place)
        if found is not None and target in found.targets:
            return place, found
    return None


def attach(place: Path, reached: Access, seen: Sight, *, read_only: bool, ended: set[str]) -> Attachment:
    """``ended``: addresses of clients that are known to be no more, and are cut off. Raises VolumeError."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        daemon.end_stray(place)
    except OSError as error:
        raise VolumeError(f"rbd image {reached.name} is still in use here: {error.strerror or error}") from error
    image = seen.image
    if not read_only:
        for address in sorted(seen.watchers & ended):
            cluster.cut_off(reached, address)
        # Those that were seen may have gone since; those that have come since are seen when it is attached.
        if seen.watchers - ended and (others := cluster.watchers(reached) - ended):
            raise VolumeError(_used(reached, others))
    made = Attachment(list(reached.monitors), reached.pool, reached.image, reached.user, identity(reached, image), image.id, read_only)
    if kernel.is_offered():
        made.device = kernel.attach(reached, image, read_only=read_only)
    else:
        made.pid, held = daemon.start(place, reached, read_only=read_only)
        made.started, made.conf, made.key = start_time(made.pid), held.conf, held.key
    try:
        if not read_only:
            made.client = _alone(reached)
        save(place, made)
    except BaseException:
        _let_go(place, made)
        raise
    return made


def _alone(reached: Access) -> str:
    present = cluster.watchers(reached)
    if len(present) != 1:
        raise VolumeError(_used(reached, present))
    return present.pop()


def _used(reached: Access, others: set[str]) -> str:
    who = ", ".join(sorted(others)) or "nobody that the cluster knows"
    hint = "a client that was killed is forgotten within 30 s; `ceph osd blocklist add ADDRESS` cuts off one that is lost"
    return f"rbd image {reached.name} is still being used by {who}: only one may write to it ({hint})"


def bury(place: Path, lost: Attachment) -> None:
    """Clears away one whose daemon has ended by itself. Raises VolumeLost while something still has it mounted."""
    points = privileged.mount_points()
    devices = {point.source for point in points if point.target in lost.targets}
    try:
        for point in reversed(points):
            if point.source in devices:
                privileged.unmount(point.target)
        daemon.clear(place)
    except OSError as error:
        raise VolumeLost(f"{lost_text(lost)}: {error.strerror or error}") from None
    (place / RECORD).unlink(missing_ok=True)


def lost_text(lost: Attachment) -> str:
    log = "its daemon (qemu-storage-daemon) has ended by itself, so that reads and writes fail"
    return f"rbd image {lost.name}: {log}; it is mounted anew when all that use it here have ended"


def detach(place: Path, attached: Attachment) -> None:
    """Idempotent. Raises VolumeError while something uses it."""
    if attached.targets:
        raise VolumeError(f"rbd image {attached.name} is mounted at {', '.join(attached.targets)}")
    _let_go(place, attached)
    (place / RECORD).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for name in (daemon.IMAGE, daemon.SOCKET, daemon.PID, daemon.LOG):
            (place / name).unlink(missing_ok=True)
        place.rmdir()


def _let_go(place: Path, attached: Attachment) -> None:
    if attached.device:
        kernel.detach(attached.device)
        return
    if attached.works:
        _wait_unused(place / daemon.IMAGE, attached)
    daemon.stop(place, attached.pid, attached.started)
    try:
        daemon.clear(place)
    except OSError as error:
        raise VolumeError(f"rbd image {attached.name} is still in use: {error.strerror or error}") from error


def _wait_unused(file: Path, attached: Attachment) -> None:
    """An unmounted volume's loop device still writes back what the volume had cached."""
    if not privileged.wait_without_loop(file, 60.0):
        raise VolumeError(f"rbd image {attached.name} is still in use by {', '.join(privileged.loops_of(file))}")


@contextlib.contextmanager
def device(place: Path, attached: Attachment) -> Iterator[str]:
    """The block device, for as long as the block lasts or something is mounted from it."""
    if attached.device:
        yield attached.device
        return
    file = place / daemon.IMAGE
    with privileged.loop_device(file, block_size=512, read_only=attached.read_only, direct=True) as path:
        yield path


def grow(place: Path, attached: Attachment, target: str) -> None:
    """The file system takes up what the image has grown to. Raises VolumeError."""
    if attached.pid:
        daemon.resize(place, cluster.info(attached.access, attached.papers).size)
        for path in privileged.loops_of(place / daemon.IMAGE):
            privileged.refresh_loop(path)
    present = privileged.find_mount(target)
    if present is None:
        raise VolumeError(f"nothing is mounted at {target}")
    filesystems.grow(present.source, target)
