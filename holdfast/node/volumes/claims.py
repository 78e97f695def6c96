"""PersistentVolumes of a pod: found live, fenced, then mounted; and given back in the reverse order.

The way of a claim: live claim > live volume bound to this very claim > fence written > mounted. What a pod holds is
kept in a file before anything is mounted, so that a node that was killed knows what to give back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.client.api import Client, find
from holdfast.kinds import sources
from holdfast.kinds.core.claims import ephemeral, foreign
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import ENDPOINTS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, SECRETS
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError
from holdfast.node.api import NotReady, VolumesLost
from holdfast.node.volumes import fence as fences
from holdfast.volumes.api import Engine, Source, Staging, VolumeError, VolumeLost

RELEASE_TRIES = 10
HOLDING = "holdfast.io/storage"
"""Annotation of a PersistentVolume: what its engine said of the last use (``Engine.holding``)."""


@dataclass(frozen=True)
class Held:
    """What a pod holds of one PersistentVolume. ``driver`` is "" for a directory of the host."""

    volume: str
    driver: str
    handle: str
    exclusive: bool


def _failed(name: str, why: str | VolumeError) -> NotReady:
    kind = VolumesLost if isinstance(why, VolumeLost) else NotReady
    return kind("FailedMount", f'MountVolume.SetUp failed for volume "{name}" : {why}')


def _namespace(volume: Obj) -> str:
    """Where the secrets of a PersistentVolume are that are named without a namespace."""
    return str((volume["spec"].get("claimRef") or {}).get("namespace") or "default")


class ClaimVolumes:
    """``root``: DATA/volumes. ``holders(pv)``: uids of the pods here that hold a PersistentVolume."""

    def __init__(
        self,
        client: Client,
        engines: Mapping[str, Engine],
        root: Path,
        node: str,
        boot_id: str,
        holders: Callable[[str], set[str]],
    ) -> None:
        self._client = client
        self._engines = engines
        self._root = root
        self._node = node
        self._boot_id = boot_id
        self._holders = holders
        self.keep_fence: Callable[[Path, str], Awaitable[None]] = _keep_fence
        """Makes the text of a fence durable on this disk."""

    def fence_file(self, held: Held) -> str:
        """The file whose lock every instance on this volume holds; "" for a shared volume."""
        return str(self._root / "fences" / held.volume) if held.exclusive else ""

    def _target(self, held: Held) -> str:
        return str(self._root / "mounts" / held.volume)

    async def find(self, pod: Obj, name: str, claim_name: str) -> tuple[Held, Obj]:
        """What volume ``name`` of the pod means, and its PersistentVolume, both read live. Raises NotReady."""
        claim = await find(self._client, PERSISTENTVOLUMECLAIMS, claim_name, meta.namespace(pod))
        if claim is None:
            raise _failed(name, f'persistentvolumeclaim "{claim_name}" not found')
        if name in ephemeral(pod) and (why := foreign(pod, claim)):
            raise _failed(name, why)
        volume_name = claim["spec"].get("volumeName")
        if not volume_name or (claim.get("status") or {}).get("phase") != "Bound":
            raise _failed(name, f'persistentvolumeclaim "{claim_name}" is not bound')
        volume = await find(self._client, PERSISTENTVOLUMES, volume_name)
        if volume is None:
            raise _failed(name, f'persistentvolume "{volume_name}" not found')
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") != meta.uid(claim):
            owner = f"{reference.get('namespace')}/{reference.get('name')}"
            raise _failed(name, f'persistentvolume "{volume_name}" belongs to another claim ({owner}, uid {reference.get("uid")})')
        return self._held(name, volume), volume

    def _held(self, name: str, volume: Obj) -> Held:
        spec = volume["spec"]
        exclusive = fences.is_exclusive(volume)
        found = sources.read(spec, _namespace(volume))
        if found is not None:
            if found.driver not in self._engines:
                raise _failed(name, f"driver name {found.driver} not found in the list of registered CSI drivers")
            return Held(meta.name(volume), found.driver, found.handle, exclusive)
        for source in ("local", "hostPath"):
            if spec.get(source):
                return Held(meta.name(volume), "", spec[source]["path"], exclusive)
        raise _failed(name, f'persistentvolume "{meta.name(volume)}": its source is not offered on this node')

    def inline(self, pod: Obj, volume: Obj) -> Held | None:
        """What a pod's volume means that names its source itself; None where no engine of this node serves it."""
        found = sources.read(volume, meta.namespace(pod))
        if found is None or found.driver not in self._engines or volume.get("csi"):
            return None
        which = hashlib.sha256(repr((found.driver, sorted(found.attributes.items()), found.read_only)).encode()).hexdigest()
        return Held(f"inline-{which[:16]}", found.driver, found.handle, exclusive=False)

    async def mount_inline(self, pod: Obj, volume: Obj, held: Held) -> tuple[str, bool]:
        """The directory members get, and whether it is only for reading. Raises NotReady."""
        found = sources.read(volume, meta.namespace(pod))
        assert found is not None
        staging = Staging(self._target(held), found.read_only, found.fs_type)
        try:
            path = await self._engines[held.driver].stage(await self._source(found), staging)
        except VolumeError as error:
            raise _failed(volume["name"], error) from error
        return path, found.read_only

    async def mount(self, pod: Obj, name: str, held: Held, volume: Obj) -> str:
        """Takes the fence, then mounts. Returns the directory members get. Raises NotReady."""
        if held.exclusive:
            await self._take(pod, name, held, volume)
        try:
            if held.driver:
                return await self._stage(held, volume)
            if is_block(volume):
                raise _failed(name, f'persistentvolume "{held.volume}": volumeMode Block needs a volume of a CSI driver')
            path = await asyncio.to_thread(_directory, volume)
            await asyncio.to_thread(_recognise, self._root / "identity" / meta.uid(volume), path)
            return path
        except VolumeError as error:
            raise _failed(name, error) from error

    async def _stage(self, held: Held, volume: Obj) -> str:
        """Mounts it, and keeps in its record which volume it is and as whom the storage knows us: the next holder needs both."""
        found = sources.read(volume["spec"], _namespace(volume))
        assert found is not None
        engine, options = self._engines[held.driver], tuple(volume["spec"].get("mountOptions") or ())
        known = _holding(volume)
        # Of a volume for one pod at a time we hold the fence: whoever held it before us has ended, or was vouched dead.
        former = {key: value for key, value in known.items() if held.exclusive or key != "client"}
        staging = Staging(self._target(held), is_read_only(volume), found.fs_type, options, is_block(volume), former)
        path = await engine.stage(await self._source(found), staging)
        holding = dict(await asyncio.to_thread(engine.holding, staging.target))
        if holding and holding != known:
            metadata = {"uid": meta.uid(volume), "annotations": {HOLDING: json.dumps(holding, separators=(",", ":"))}}
            await self._client.patch(PERSISTENTVOLUMES, meta.name(volume), "", {"metadata": metadata})
        return path

    async def _source(self, found: sources.Backend) -> Source:
        """With the data of the Secret that it names. Raises VolumeError when that is not there."""
        secrets: dict[str, str] = {}
        if found.secret:
            namespace, name = found.secret
            secret = await find(self._client, SECRETS, name, namespace)
            if secret is None:
                raise VolumeError(f'secret "{namespace}/{name}" not found: it holds what {found.driver} needs to mount the volume')
            secrets = sources.secret_data(secret)
        return Source(found.handle, {**found.attributes, **await self._servers(found)}, secrets)

    async def _servers(self, found: sources.Backend) -> dict[str, str]:
        """The addresses behind the Endpoints that a source names instead. Raises VolumeError when there are none."""
        name, namespace = found.attributes.get("endpoints"), found.attributes.get("namespace", "")
        if found.driver != sources.GLUSTERFS or not name:
            return {}
        endpoints = await find(self._client, ENDPOINTS, name, namespace)
        subsets = (endpoints or {}).get("subsets") or []
        hosts = [address["ip"] for subset in subsets for address in subset.get("addresses") or []]
        if not hosts:
            raise VolumeError(f'endpoints "{namespace}/{name}" not found or empty: they name the servers of the volume')
        return {"hosts": ",".join(hosts)}

    async def _take(self, pod: Obj, name: str, held: Held, volume: Obj) -> None:
        try:
            present = fences.read(volume)
        except ValueError as error:
            raise _failed(name, str(error)) from error
        others = self._holders(held.volume) - {meta.uid(pod)}
        if others or (fences.is_held_by_other(present, meta.uid(pod)) and not await self._is_revoked(present)):
            who = present.pod if present.podUID not in ("", meta.uid(pod)) else ", ".join(sorted(others))
            text = f'Multi-Attach error for volume "{held.volume}" Volume is already used by pod(s) {who}'
            raise NotReady("FailedAttachVolume", text)
        wanted = fences.taken(present, pod, self._node, self._boot_id)
        if wanted != present:
            await self._write(volume, wanted)
        await self.keep_fence(Path(self.fence_file(held)), fences.write(wanted))

    async def _is_revoked(self, fence: fences.Fence) -> bool:
        """The holder's record is gone from the API: whoever removed it has vouched for its end."""
        namespace, name = meta.split_key(fence.pod)
        try:
            holder = await find(self._client, PODS, name, namespace)
        except ApiError as error:
            if error.code == 403:  # it is there, bound to another node: not ours to read
                return False
            raise
        return holder is None or meta.uid(holder) != fence.podUID

    async def _write(self, volume: Obj, fence: fences.Fence) -> None:
        metadata = {
            "uid": meta.uid(volume),
            "resourceVersion": volume["metadata"]["resourceVersion"],
            "annotations": {fences.ANNOTATION: fences.write(fence)},
        }
        await self._client.patch(PERSISTENTVOLUMES, meta.name(volume), "", {"metadata": metadata})

    async def grow(self, held: Held) -> None:
        """Raises VolumeError. A directory of the host is as large as its disk."""
        if held.driver:
            await self._engines[held.driver].grow(held.handle, self._target(held))

    async def unmount(self, held: Held) -> None:
        """Raises VolumeError while something uses it."""
        if held.driver:
            await self._engines[held.driver].unstage(held.handle, self._target(held))

    async def release(self, uid: str, held: Held) -> None:
        """Says in the fence that no instance of pod ``uid`` is left. Raises ApiError, OSError: then nothing was given away."""
        for _ in range(RELEASE_TRIES if held.exclusive else 0):
            volume = await find(self._client, PERSISTENTVOLUMES, held.volume)
            present = fences.read(volume) if volume is not None else fences.Fence()
            if volume is None or present.podUID != uid or present.released:
                return
            try:
                return await self._write(volume, fences.released(present))
            except ApiError as error:
                if error.code == 404:
                    return
                if error.code != 409:
                    raise
        if held.exclusive:
            raise NotReady("FailedUnmount", f"the fence of volume {held.volume} could not be released: it changes all the time")


def _holding(volume: Obj) -> dict[str, str]:
    """Raises VolumeError when somebody has made it unreadable: then nobody knows who has to be cut off."""
    try:
        found = json.loads(meta.annotations_of(volume).get(HOLDING) or "{}")
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, AttributeError) as error:
        raise VolumeError(f"annotation {HOLDING} of {meta.name(volume)} is not what was written there: {error}") from None


def is_read_only(volume: Obj) -> bool:
    """Whether its source, or its only access mode, lets nobody write to a volume."""
    found = sources.read(volume["spec"], "")
    return (found is not None and found.read_only) or set(volume["spec"].get("accessModes") or []) == {"ReadOnlyMany"}


def is_block(volume: Obj) -> bool:
    return bool(volume["spec"].get("volumeMode") == "Block")


async def _keep_fence(path: Path, text: str) -> None:
    await asyncio.to_thread(_keep, path, text)


def _keep(path: Path, text: str) -> None:
    """The fence on this disk, durable before anything starts. Written in place: shims hold locks on this very file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        data = text.encode()
        if os.pread(handle, len(data) + 1, 0) != data:
            os.ftruncate(handle, 0)
            os.pwrite(handle, data, 0)
            os.fsync(handle)
    finally:
        os.close(handle)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _recognise(record: Path, path: str) -> None:
    """Raises VolumeError when the directory of the host is another one than at its first use (P-5).

    A disk that is not mounted leaves an empty directory of the same name: a database would begin anew in it. The directory
    is known by its inode, kept beside our own data and never inside it.
    """
    found = str(os.stat(path).st_ino)
    try:
        known = record.read_text().strip()
    except FileNotFoundError:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(found + "\n")
        return
    if known != found:
        what = f"{path} is not the directory that this volume was first used with (is its disk mounted?); nothing starts on it"
        raise VolumeError(f"{what}; if it is the right one, remove {record}")


_IS = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def host_path(path: str, kind: str) -> str:
    """A path of the host, checked or made as its type says. Raises VolumeError."""
    if not kind:
        # Upstream leaves it to the runtime, whose bind mount makes the missing directory.
        os.makedirs(path, exist_ok=True) if not os.path.lexists(path) else None
        return path
    if kind == "DirectoryOrCreate":
        os.makedirs(path, mode=0o755, exist_ok=True)
    elif kind == "FileOrCreate" and not os.path.lexists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    check, what = _IS[kind]
    try:
        found = os.stat(path)
    except OSError as error:
        raise VolumeError(f"hostPath type check failed: {path}: {error.strerror}") from None
    if not check(found.st_mode):
        raise VolumeError(f"hostPath type check failed: {path} is not {what}")
    return path


def _directory(volume: Obj) -> str:
    """The host's directory behind a hostPath or local PersistentVolume; a local one must be there already."""
    spec = volume["spec"]
    if spec.get("hostPath"):
        return host_path(spec["hostPath"]["path"], spec["hostPath"].get("type") or "")
    path = str(spec["local"]["path"])
    if not os.path.isdir(path):
        raise VolumeError(f'path "{path}" does not exist')
    return path
