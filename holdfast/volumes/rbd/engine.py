"""The rbd engine: a volume is an image in a pool of a Ceph cluster, reached from every node (in-tree name kubernetes.io/rbd).

Images are of two kinds. Those made here say so in their metadata, carry our marker inside and give members ``data/``, as
the builtin engine's do. All others are somebody's: mounted as they are, known by pool, id and birth, never marked inside.
Acts of the cluster are in ``cluster``, what is attached to this node in ``attachment``, file systems in ``mount``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from holdfast.lib import privileged
from holdfast.lib.threads import Busy, Locks, run_apart
from holdfast.volumes import filesystems, mounting
from holdfast.volumes.api import FS_TYPE, Source, Staging, Volume, VolumeError
from holdfast.volumes.deaths import Deaths
from holdfast.volumes.marker import DATA, mark, verify
from holdfast.volumes.rbd import attachment, cluster, daemon, mount
from holdfast.volumes.rbd.attachment import Attachment
from holdfast.volumes.rbd.cluster import Access, CephError, Sight

NAME = "kubernetes.io/rbd"
MIB = 1024 * 1024
OURS, FORMATTED = "holdfast.io/volume", "holdfast.io/formatted"
"""Metadata of an image that was made here: whose it is, and that its file system is whole."""
_FEATURES = {"layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"}
_PARAMETERS = {
    *("monitors", "adminId", "adminSecretName", "adminSecretNamespace", "userId", "userSecretName", "userSecretNamespace"),
    *("pool", "fsType", FS_TYPE, "imageFormat", "imageFeatures"),
}
_PATIENCE = 120.0
_REMOVAL = 7200.0
"""Seconds: an image goes object by object."""
_BUSY_SECONDS = 5.0

T = TypeVar("T")


class RbdEngine:
    """``root``: DATA/volumes. All methods may be called again after a crash at any point."""

    name = NAME
    network = True
    provisioner_secret = ("adminSecretName", "adminSecretNamespace")
    node_secret = ("userSecretName", "userSecretNamespace")

    def __init__(self, root: Path) -> None:
        self._root = root / "rbd"
        self._locks = Locks()
        self._deaths = Deaths()
        self._leaving: set[Path] = set()
        self._told: list[Callable[[str, str], None]] = []

    # In the cluster

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        return await self._apart(lambda: _create(handle, capacity, parameters, secrets), f"creating {handle}")

    async def delete(self, source: Source) -> None:
        await self._apart(lambda: _delete(source), f"deleting {source.handle}")

    async def expand(self, source: Source, capacity: int) -> int:
        return await self._apart(lambda: _expand(source, capacity), f"expanding {source.handle}")

    # On this node

    async def stage(self, source: Source, staging: Staging) -> str:
        path, place = await self._apart(lambda: self._stage(source, staging), f"mounting {source.handle}")
        self._watch(place)
        return path

    async def grow(self, handle: str, target: str) -> None:
        await self._apart(lambda: self._with_target(target, lambda place, found: attachment.grow(place, found, target)), handle)

    async def unstage(self, handle: str, target: str) -> None:
        await self._apart(lambda: self._unstage(target), f"unmounting {handle}")

    async def unused(self) -> Collection[str]:
        return ()  # an image's first mount leaves no trace that can be told from afar

    def holding(self, target: str) -> Mapping[str, str]:
        found = attachment.by_target(self._root, target)
        return {} if found is None else {"client": found[1].client, "image": found[1].identity}

    def on_lost(self, told: Callable[[str, str], None]) -> None:
        self._told.append(told)

    async def close(self) -> None:
        """Lets go of everything. Raises VolumeError while a volume is in use."""
        for place in [path.parent for path in self._root.glob(f"*/{attachment.RECORD}")]:
            found = attachment.load(place)
            for target in found.targets if found else []:
                await self.unstage("", target)
            await self._apart(lambda place=place: self._drop(place), "letting go")  # type: ignore[misc]

    async def _apart(self, work: Callable[[], T], what: str) -> T:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await run_apart(work, "rbd")
        except TimeoutError:
            text = f"{what} takes longer than {_PATIENCE:.0f} s and goes on: does the Ceph cluster answer?"
            raise VolumeError(text) from None

    # Blocking, in a thread

    @contextlib.contextmanager
    def _alone(self, place: Path) -> Iterator[None]:
        try:
            with self._locks.hold(place, _BUSY_SECONDS):
                yield
        except Busy:
            text = "an earlier act on this rbd image is still under way: does the Ceph cluster answer?"
            raise VolumeError(text) from None

    def _stage(self, source: Source, staging: Staging) -> tuple[str, Path]:
        if staging.block:
            raise VolumeError(f"volumeMode: Block is not offered by {self.name}")
        there = attachment.by_target(self._root, staging.target)
        if there is not None and there[1].works and staging.target in there[1].ready and _is_mounted(staging.target):
            return _members(there[1], staging.target), there[0]
        reached = cluster.access(source)
        if not reached.image:
            raise VolumeError("image: required, the image's name in its pool")
        seen = cluster.look(reached)
        which = attachment.identity(reached, seen.image)
        if staging.former.get("image", which) != which:
            told = f"rbd image {reached.name} ({which}) is not the one this volume was first used with ({staging.former['image']})"
            raise VolumeError(f"{told}; nothing starts on it")
        place = attachment.directory(self._root, which)
        with self._alone(place):
            return self._stage_alone(place, reached, seen, staging), place

    def _stage_alone(self, place: Path, reached: Access, seen: Sight, staging: Staging) -> str:
        attached, ended = attachment.load(place), {staging.former.get("client", "")}
        if attached is not None and not attached.works:
            attachment.bury(place, attached)
            ended.add(attached.client)
            attached = None
        if attached is None:
            attached = attachment.attach(place, reached, seen, read_only=staging.read_only, ended=ended - {""})
        elif attached.read_only and not staging.read_only:
            raise VolumeError(f"rbd image {reached.name} is mounted on this node for reading only; what reads it must end first")
        if staging.target not in attached.targets:
            attached.targets.append(staging.target)
            attachment.save(place, attached)
        try:
            return _mount(place, attached, reached, seen.metadata, staging)
        except BaseException:
            self._forget(place, attached, staging.target)
            raise

    def _forget(self, place: Path, attached: Attachment, target: str) -> None:
        """Takes back a stage that failed; what cannot be taken back now is found again by its record."""
        with contextlib.suppress(VolumeError, OSError):
            self._give_back(place, attached, target)

    def _give_back(self, place: Path, attached: Attachment, target: str) -> None:
        mounting.detach(Path(target))
        attached.targets.remove(target)
        attached.ready = [name for name in attached.ready if name != target]
        attachment.save(place, attached)
        if not attached.targets:
            attachment.detach(place, attached)

    def _unstage(self, target: str) -> None:
        def act(place: Path, attached: Attachment) -> None:
            self._leaving.add(place)
            try:
                self._give_back(place, attached, target)
            finally:
                self._leaving.discard(place)

        if attachment.by_target(self._root, target) is not None:
            self._with_target(target, act)

    def _with_target(self, target: str, act: Callable[[Path, Attachment], None]) -> None:
        found = attachment.by_target(self._root, target)
        if found is None:
            raise VolumeError(f"no rbd image is mounted at {target}")
        with self._alone(found[0]):
            attached = attachment.load(found[0])
            if attached is not None and target in attached.targets:
                act(found[0], attached)

    def _drop(self, place: Path) -> None:
        with self._alone(place):
            attached = attachment.load(place)
            if attached is not None:
                attachment.detach(place, attached)

    # A daemon that ends by itself

    def _watch(self, place: Path) -> None:
        attached = attachment.load(place)
        if attached is not None and attached.pid:
            self._deaths.watch(place, attached.pid, lambda: self._ended(place))

    def _ended(self, place: Path) -> None:
        daemon.reap()
        attached = attachment.load(place) if place not in self._leaving else None
        for target in attached.targets if attached is not None and not attached.works else []:
            for told in self._told:
                told(target, attachment.lost_text(attached))  # type: ignore[arg-type]


def _is_mounted(target: str) -> bool:
    return privileged.find_mount(target) is not None


def _members(attached: Attachment, target: str) -> str:
    """The directory that members get: a part of those images that are ours."""
    inside = Path(target) / DATA
    return str(inside) if attached.handle else target


def _mount(place: Path, attached: Attachment, reached: Access, said: Mapping[str, str], staging: Staging) -> str:
    attached.handle = said.get(OURS, "")
    attachment.save(place, attached)
    target = Path(staging.target)
    fresh = bool(attached.handle) and said.get(FORMATTED) != attached.handle
    with attachment.device(place, attached) as path:
        kind = _file_system(attached, path, staging.fs_type, place / "look", fresh=fresh)
        mount.attach(path, target, kind, read_only=attached.read_only, options=staging.options)
    if fresh:
        mark(target, attached.handle)
        cluster.run(reached, "rbd", "image-meta", "set", *cluster.place(reached), FORMATTED, attached.handle)
    if attached.handle:
        verify(target, attached.handle)
    if staging.read_only and not attached.read_only:
        privileged.make_read_only(target)
    attached.ready = sorted({*attached.ready, staging.target})
    attachment.save(place, attached)
    return _members(attached, staging.target)


def _file_system(attached: Attachment, device: str, wanted: str, scratch: Path, *, fresh: bool) -> str:
    """The file system that is there now: found, or made where there is none. Raises VolumeError."""
    present = mount.signature(device)
    # Of our own image nobody has seen anything before its first mount was told; somebody's is only ever formatted when it is blank.
    if present and not (fresh and not _is_used(device) and not _mounts(device, present, scratch)):
        if wanted not in ("", present):
            raise VolumeError(f"rbd image {attached.name} holds {present}, and fsType asks for {wanted}; it is left as it is")
        if not attached.read_only and not _is_used(device):
            mount.check(device, present)
        return present
    if attached.read_only:
        raise VolumeError(f"rbd image {attached.name} has no file system, and it is only to be read; use it once for writing")
    if not (fresh or mount.is_blank(device)):
        held = f"rbd image {attached.name} has no file system that is known here and is not empty; it is left as it is"
        raise VolumeError(f"{held} (blkdiscard empties it)")
    kind = wanted or mount.DEFAULT
    filesystems.kind_of(kind)
    filesystems.make(device, kind)
    return kind


def _mounts(device: str, kind: str, target: Path) -> bool:
    """Whether a file system that was being made is whole."""
    if kind not in filesystems.KINDS:
        return False
    try:
        mount.attach(device, target, kind, read_only=False, options=())
    except VolumeError:
        return False
    mounting.detach(target)
    return True


def _is_used(device: str) -> bool:
    return any(found.source == device for found in privileged.mount_points())


# In the cluster, blocking


def _list(parameters: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in parameters.get(name, "").split(",") if part.strip()]


def _check_parameters(parameters: Mapping[str, str]) -> None:
    unknown = sorted(set(parameters) - _PARAMETERS)
    if unknown:
        raise VolumeError(f"parameters.{unknown[0]}: unknown to {NAME}; it knows {', '.join(sorted(_PARAMETERS))}")
    for name in ("monitors", "adminSecretName", "userSecretName"):
        if not parameters.get(name):
            raise VolumeError(f"parameters.{name}: required by {NAME}")
    if parameters.get("imageFormat", "2") not in ("1", "2"):
        raise VolumeError(f"parameters.imageFormat: {parameters['imageFormat']} is neither 1 nor 2")
    strange = sorted(set(_list(parameters, "imageFeatures")) - _FEATURES)
    if strange:
        raise VolumeError(f"parameters.imageFeatures: {strange[0]} is not one of {', '.join(sorted(_FEATURES))}")
    filesystems.kind_of(_fs_type(parameters))


def _fs_type(parameters: Mapping[str, str]) -> str:
    return parameters.get("fsType") or parameters.get(FS_TYPE) or mount.DEFAULT


def _create(handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
    _check_parameters(parameters)
    admin = parameters.get("adminId") or "admin"
    common = {"monitors": parameters["monitors"], "pool": parameters.get("pool") or "rbd", "image": handle}
    reached = cluster.access(Source(handle, {**common, "user": admin}, secrets))
    size = max(1, -(-capacity // MIB)) * MIB
    features = [part for name in _list(parameters, "imageFeatures") for part in ("--image-feature", name)]
    kind = ("--image-format", parameters.get("imageFormat", "2"))
    try:
        cluster.run(reached, "rbd", "create", *cluster.place(reached), "--size", f"{size // MIB}M", *kind, *features)
    except CephError as error:
        if error.code != 17:
            raise
        size = cluster.info(reached).size
    cluster.run(reached, "rbd", "image-meta", "set", *cluster.place(reached), OURS, handle)
    attributes = {**common, "user": parameters.get("userId") or admin}
    return Volume(handle, max(size, capacity), attributes, {"user": admin}, _fs_type(parameters))


def _delete(source: Source) -> None:
    reached = cluster.access(source)
    try:
        owner = cluster.metadata(reached).get(OURS)
        if owner != reached.image:
            raise VolumeError(f"rbd image {reached.name} was not made by {NAME} here, and is not removed")
        used = cluster.watchers(reached)
        if used:
            raise VolumeError(f"rbd image {reached.name} is still being used by {', '.join(sorted(used))} and is not removed")
        cluster.run(reached, "rbd", "rm", "--no-progress", *cluster.place(reached), limit=_REMOVAL)
    except CephError as error:
        if error.code != 2 or "there is no image" not in str(error):
            raise


def _expand(source: Source, capacity: int) -> int:
    reached = cluster.access(source)
    size = cluster.info(reached).size
    if size < capacity:
        size = -(-capacity // MIB) * MIB
        cluster.run(reached, "rbd", "resize", "--no-progress", *cluster.place(reached), "--size", f"{size // MIB}M")
    return size
