"""What the parts of the node ask of each other; they meet in ``node.agent`` and are wired in ``system.node``.

A pod's way: the API's watch > ``pods`` (decide, then act) > ``volumes.prepare`` and ``network.add`` >
``images.find`` > ``runtimes`` > status back to the API. Streams enter at ``streams`` (the kubelet's HTTPS API).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.kinds.kind import Obj

RENDERED = ("configMap", "secret", "projected", "downwardAPI")
"""Volumes whose files the node computes: no container may write to them (SEC-11)."""


class NotReady(Exception):
    """A part cannot serve a pod yet: ``reason`` and ``message`` become an event; the pod is tried again."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class VolumesLost(NotReady):
    """What is mounted has stopped to work by itself: the pod's containers must end before it is mounted anew."""


@dataclass(frozen=True)
class PodNetwork:
    ip: str
    netns: str
    """Path of the pod's network namespace."""


class Network(Protocol):
    async def start(self) -> None: ...

    async def close(self, *, remove: bool) -> None:
        """``remove``: take every link, namespace and rule away (down); else leave pods connected."""

    async def add(self, uid: str, namespace: str, name: str) -> PodNetwork:
        """Idempotent; found again after a restart with the same IP."""

    async def remove(self, uid: str) -> None: ...

    def get(self, uid: str) -> PodNetwork | None: ...

    def uids(self) -> set[str]: ...

    async def connect(self, netns: str, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection made inside a namespace ("" = the node's own): probes and port-forward."""

    @property
    def dns_address(self) -> str: ...


class Volumes(Protocol):
    async def start(self) -> None: ...

    async def close(self, *, remove: bool) -> None:
        """``remove``: unmount everything (down); data stays. Else pods keep their mounts."""

    async def prepare(self, pod: Obj) -> Mapping[str, str]:
        """Volume name -> host path, all mounted and fenced. Idempotent. Raises NotReady (FailedMount ...)."""

    def on_lost(self, told: Callable[[str, str], None]) -> None:
        """``told(uid, why)`` is called when a volume of that pod has stopped to work: its containers end, then it is prepared anew."""

    async def refresh(self, pod: Obj) -> None:
        """Brings configMap, secret, projected and downwardAPI files up to date."""

    def sub_path(self, uid: str, container: str, number: int, volume: str, below: str) -> str:
        """The host path of ``below`` inside a prepared volume, for mount ``number`` of a container that does not run.

        It stays what it is now, whatever becomes of the names in the volume. Raises VolumeError, OSError.
        """

    def fence_files(self, uid: str) -> tuple[str, ...]:
        """Lock files the pod's shims must hold."""

    async def release(self, uid: str) -> None:
        """Unmounts and releases fences once every instance of the pod is confirmed dead. Never deletes through a mount."""

    def uids(self) -> set[str]: ...


@dataclass(frozen=True)
class Image:
    """``id`` is the config digest (sha256:...), ``layers`` unpacked directories, lowest first."""

    id: str
    name: str
    layers: tuple[str, ...]
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    stop_signal: str = ""
    size: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)


class Images(Protocol):
    def find(self, reference: str) -> Image | None:
        """By any spelling (``nginx`` = ``docker.io/library/nginx:latest``). None when it is not loaded."""

    def list(self) -> list[Image]: ...
