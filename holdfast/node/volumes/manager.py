"""The volumes of pods: prepared before anything of the pod starts, released when nothing of it runs (contract: ``node.api.Volumes``).

A pod's own volumes lie in DATA/node/volumes/UID/NAME; beside that directory UID.json says what the pod holds of
PersistentVolumes. Secrets and tokens only ever touch memory. Nothing is removed through a mount (P-6).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from holdfast.client.api import Client, find
from holdfast.kinds import sources
from holdfast.kinds.core.claims import claims_of
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONFIGMAPS, SECRETS, SERVICEACCOUNTS
from holdfast.lib import privileged
from holdfast.lib.clock import Clock, parse_rfc3339
from holdfast.machinery import meta, quantity
from holdfast.machinery.errors import ApiError
from holdfast.node.api import RENDERED, NotReady, VolumesLost
from holdfast.node.volumes import atomic, payload, subpath
from holdfast.node.volumes.claims import ClaimVolumes, Held, host_path, is_block, is_read_only
from holdfast.volumes.api import Engine, VolumeError

log = logging.getLogger("holdfast.node.volumes")

_TMPFS = privileged.MS_NODEV | privileged.MS_NOSUID
_RENEW_AT = 0.8
"""Tokens are renewed after this part of their life."""


class NodeVolumes:
    """``data``: the data directory of the system."""

    def __init__(
        self,
        client: Client,
        engines: Mapping[str, Engine],
        data: Path,
        node: str,
        boot_id: str,
        clock: Clock,
        capacity: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._client = client
        self._engines = engines
        self._directory = data / "node" / "volumes"
        self._clock = clock
        self._claims = ClaimVolumes(client, engines, data / "volumes", node, boot_id, self.holders)
        self._held: dict[str, dict[str, Held]] = {}
        self._tokens: dict[tuple[str, str, int], tuple[str, float]] = {}
        self._left: set[tuple[str, str]] = set()
        """(pod uid, volume): pods that are giving everything back, and no longer use that volume."""
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By volume: nobody takes it up while the last one lets go of it. By pod uid: nothing is made anew while all is given back."""
        self._told: list[Callable[[str, str], None]] = []
        for engine in engines.values():
            engine.on_lost(self._lost)
        self.capacity = capacity
        self.on_mounted: Callable[[str], None] = lambda _claim: None
        """Told the key of each claim whose volume has just been mounted."""

    async def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        for file in self._directory.glob("*.json"):
            self._held[file.stem] = {name: Held(**entry) for name, entry in orjson.loads(file.read_bytes()).items()}
        for left in os.scandir(self._directory):
            if left.is_dir(follow_symlinks=False):
                # Without a record it holds no claim; whose it was is looked up, and then it is let go like any other.
                self._held.setdefault(left.name, {})

    async def close(self, *, remove: bool) -> None:
        """``remove``: unmounts everything, for pods that have all been stopped; data and records stay."""
        if not remove:
            return
        await asyncio.to_thread(privileged.unmount_below, self._directory)
        for held in {held.volume: held for pod in self._held.values() for held in pod.values()}.values():
            await self._claims.unmount(held)
        for engine in self._engines.values():
            await engine.close()

    def uids(self) -> set[str]:
        return set(self._held)

    def statistics(self) -> dict[str, int]:
        return {"pods": len(self._held), "claims": sum(len(pod) for pod in self._held.values()), "tokens": len(self._tokens)}

    def fence_files(self, uid: str) -> tuple[str, ...]:
        files = {self._claims.fence_file(held) for held in self._held.get(uid, {}).values()}
        return tuple(sorted(files - {""}))

    def on_lost(self, told: Callable[[str, str], None]) -> None:
        self._told.append(told)

    def _lost(self, target: str, why: str) -> None:
        log.warning("volume %s: %s", Path(target).name, why)
        self._tell(self.holders(Path(target).name), why)

    def _tell(self, uids: set[str], why: str) -> None:
        for uid in uids:
            for told in self._told:
                told(uid, why)

    def sub_path(self, uid: str, container: str, number: int, volume: str, below: str) -> str:
        # Below the pod's own directory, so that it is unmounted with it; no volume's name begins with a dot.
        target = self._directory / uid / ".sub" / container / str(number)
        subpath.bind(volume, below, target)
        return str(target)

    async def grow(self, volume: str) -> None:
        """What is on a held PersistentVolume takes up what its engine gave it. Raises VolumeError."""
        held = next((held for pod in self._held.values() for held in pod.values() if held.volume == volume), None)
        if held is None:
            raise VolumeError(f"volume {volume} is not mounted here")
        await self._claims.grow(held)

    def holders(self, volume: str) -> set[str]:
        """Uids of the pods here that hold a PersistentVolume."""
        return {uid for uid, pod in self._held.items() if any(held.volume == volume for held in pod.values())}

    # Preparing

    async def prepare(self, pod: Obj) -> Mapping[str, str]:
        uid = meta.uid(pod)
        self._held.setdefault(uid, {})
        self._record(uid)
        paths: dict[str, str] = {}
        for volume in pod["spec"].get("volumes") or []:
            try:
                paths[volume["name"]] = await self._prepare(pod, volume)
            except VolumesLost as error:
                # Others who hold it have the old mount as well, and may be asked later, when a new one is there.
                held = self._held[uid].get(volume["name"])
                self._tell(self.holders(held.volume) - {uid} if held else set(), error.message)
                raise
            except (VolumeError, OSError) as error:
                if isinstance(error, ConnectionError):
                    raise
                text = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
                raise NotReady("FailedMount", text) from error
        return paths

    async def _prepare(self, pod: Obj, volume: Obj) -> str:
        name = volume["name"]
        target = self._directory / meta.uid(pod) / name
        if volume.get("persistentVolumeClaim"):
            return await self._claim(pod, name, volume["persistentVolumeClaim"], target)
        if volume.get("ephemeral"):
            return await self._claim(pod, name, {"claimName": claims_of(pod)[name]}, target)
        if volume.get("hostPath"):
            source = volume["hostPath"]
            return await asyncio.to_thread(host_path, source["path"], source.get("type") or "")
        if any(volume.get(kind) is not None for kind in RENDERED):
            await self._render(pod, volume, target)
            return str(target)
        if volume.get("emptyDir") is not None:
            await asyncio.to_thread(_empty_directory, volume["emptyDir"], target, _group(pod))
            return str(target)
        held = self._claims.inline(pod, volume)
        if held is not None:
            return await self._inline(pod, volume, held)
        kind = next((key for key in volume if key != "name"), "none")
        raise VolumeError(f"volumes of type {kind} are not offered on this node")

    async def _claim(self, pod: Obj, name: str, source: Obj, target: Path) -> str:
        uid = meta.uid(pod)
        held, volume = await self._claims.find(pod, name, source["claimName"])
        known = self._held[uid].get(name)
        if known is not None and known != held:
            raise VolumeError(f"it has been mounted as {known.volume} and is {held.volume} now; the pod must end first")
        async with self._turns[held.volume]:
            others = self.holders(held.volume) - {uid}
            if known is None and not (held.exclusive and others):
                self._held[uid][name] = held
                self._record(uid)
            self._left.discard((uid, held.volume))
            path = await self._claims.mount(pod, name, held, volume)
        self.on_mounted(f"{meta.namespace(pod)}/{source['claimName']}")
        if is_block(volume):
            return path
        if held.driver and held.driver not in sources.SHARED and not is_read_only(volume):
            await self._give_to_group(pod, path)
        if not source.get("readOnly"):
            return path
        await asyncio.to_thread(_bind_read_only, path, target)
        return str(target)

    async def _inline(self, pod: Obj, volume: Obj, held: Held) -> str:
        uid = meta.uid(pod)
        async with self._turns[held.volume]:
            self._held[uid][volume["name"]] = held
            self._record(uid)
            self._left.discard((uid, held.volume))
            path, read_only = await self._claims.mount_inline(pod, volume, held)
        if not read_only and held.driver not in sources.SHARED:
            await self._give_to_group(pod, path)
        return path

    async def _give_to_group(self, pod: Obj, path: str) -> None:
        group = _group(pod)
        if group is not None:
            policy = (pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy") or "Always"
            await asyncio.to_thread(_own, path, group, policy)

    async def _render(self, pod: Obj, volume: Obj, target: Path) -> None:
        found = await payload.render(pod, volume, self)
        group = _group(pod)
        files = found.files
        if group is not None:
            files = {path: atomic.File(file.data, file.mode | 0o440) for path, file in files.items()}
        owner = payload.file_owner(pod) if found.private else -1

        def act() -> None:
            target.mkdir(parents=True, exist_ok=True, mode=0o755)
            if found.private and privileged.find_mount(target) is None:
                privileged.mount(
                    "tmpfs", target, "tmpfs", privileged.MS_NODEV | privileged.MS_NOSUID | privileged.MS_NOEXEC, "mode=0755"
                )
            atomic.write(target, files, uid=owner, gid=-1 if group is None else group)

        await asyncio.to_thread(act)

    async def refresh(self, pod: Obj) -> None:
        """To its end, whoever stops waiting for it: what is mounted late would lie in the way of ``release``."""
        await asyncio.shield(self._refresh(pod))

    async def _refresh(self, pod: Obj) -> None:
        uid = meta.uid(pod)
        async with self._turns[uid]:
            for volume in (pod["spec"].get("volumes") or []) if uid in self._held else ():
                if any(volume.get(kind) is not None for kind in RENDERED):
                    await self._render(pod, volume, self._directory / uid / volume["name"])

    # What rendering asks for

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        return await find(self._client, CONFIGMAPS if kind == "ConfigMap" else SECRETS, name, namespace)

    async def token(self, pod: Obj, audience: str, seconds: int) -> str:
        key = (meta.uid(pod), audience, seconds)
        known = self._tokens.get(key)
        if known is not None and self._clock.now() < known[1]:
            return known[0]
        reference = {"apiVersion": "v1", "kind": "Pod", "name": meta.name(pod), "uid": meta.uid(pod)}
        spec: Obj = {"expirationSeconds": seconds, "boundObjectRef": reference}
        if audience:
            spec["audiences"] = [audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}
        account = pod["spec"].get("serviceAccountName") or "default"
        try:
            answer = await self._client.create(SERVICEACCOUNTS, body, meta.namespace(pod), subresource="token", name=account)
        except ApiError as error:
            raise NotReady("FailedMount", f'failed to fetch token: serviceaccount "{account}": {error.message}') from error
        now, ends = self._clock.now(), parse_rfc3339(answer["status"]["expirationTimestamp"])
        self._tokens[key] = (answer["status"]["token"], now + (ends - now) * _RENEW_AT)
        return str(answer["status"]["token"])

    # Releasing

    async def release(self, uid: str) -> None:
        """Raises NotReady, ApiError, OSError: then the pod still holds what it held."""
        async with self._turns[uid]:
            await self._release(uid)
        self._turns.pop(uid, None)

    async def _release(self, uid: str) -> None:
        mine = self._directory / uid
        has_directory = self._has_directory(uid)
        try:
            if has_directory:
                await asyncio.to_thread(privileged.unmount_below, mine)
            for held in self._held.get(uid, {}).values():
                async with self._turns[held.volume]:
                    self._left.add((uid, held.volume))
                    if all((other, held.volume) in self._left for other in self.holders(held.volume)):
                        await self._claims.unmount(held)
                await self._claims.release(uid, held)
        except (VolumeError, ValueError) as error:
            raise NotReady("FailedUnmount", str(error)) from error
        if has_directory:
            await asyncio.to_thread(privileged.remove_tree, mine)
        self._drop(uid)
        self._held.pop(uid, None)
        self._left = {pair for pair in self._left if pair[0] != uid}
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]

    def _has_directory(self, uid: str) -> bool:
        """A pod without volumes of its own has none: nothing is mounted there."""
        return os.path.lexists(self._directory / uid)

    def _record(self, uid: str) -> None:
        file = self._directory / f"{uid}.json"
        text = orjson.dumps({name: asdict(held) for name, held in self._held[uid].items()})
        if file.exists() and file.read_bytes() == text:
            return
        temporary = file.with_suffix(".tmp")
        with temporary.open("wb") as handle:
            handle.write(text)
            handle.flush()
            if self._held[uid]:
                os.fsync(handle.fileno())  # what a pod held must be known after a loss of power
        os.replace(temporary, file)

    def _drop(self, uid: str) -> None:
        """The record of what a pod held: nothing is held any more."""
        (self._directory / f"{uid}.json").unlink(missing_ok=True)


def _group(pod: Obj) -> int | None:
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if group is None else int(group)


def _empty_directory(source: Obj, target: Path, group: int | None) -> None:
    """Keeps what is there: the pod may only have been restarted."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    fresh = not target.exists()
    target.mkdir(exist_ok=True)
    if source.get("medium") == "Memory" and privileged.find_mount(target) is None:
        size = f",size={quantity.to_int(source['sizeLimit'])}" if source.get("sizeLimit") else ""
        privileged.mount("tmpfs", target, "tmpfs", _TMPFS, f"mode=0777{size}")
        fresh = True
    if fresh:
        if group is not None:
            os.chown(target, -1, group)
        target.chmod(0o2777 if group is not None else 0o777)


def _bind_read_only(path: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if privileged.find_mount(target) is None:
        privileged.bind(path, target, read_only=True)


def _own(path: str, group: int, policy: str) -> None:
    """Gives a volume's files to the pod's group (fsGroup); OnRootMismatch looks at the root alone."""
    root = os.stat(path)
    if policy == "OnRootMismatch" and root.st_gid == group and root.st_mode & 0o2070 == 0o2070:
        return
    for directory, names, files in os.walk(path, topdown=False):
        for name in files:
            _give(os.path.join(directory, name), group, 0o660)
        for name in names:
            _give(os.path.join(directory, name), group, 0o2770)
    _give(path, group, 0o2770)


def _give(path: str, group: int, mode: int) -> None:
    found = os.lstat(path)
    if found.st_gid != group:
        os.lchown(path, -1, group)
    wanted = found.st_mode & 0o7777 | mode
    if not os.path.islink(path) and wanted != found.st_mode & 0o7777:
        os.chmod(path, wanted)
