"""A storage engine, shaped like CSI: no API objects, only handles, sizes and paths.

Used by ``node.volumes`` (stage, unstage, provision with WaitForFirstConsumer) and, for network
engines, by a provisioning controller. One package an engine: ``volumes/<engine>/{engine,mount}.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class VolumeError(Exception):
    """An engine's refusal; the text names the volume, the cause and the remedy."""


@dataclass(frozen=True)
class Volume:
    """A provisioned volume: ``handle`` finds it again, ``capacity`` is in bytes of file data it holds."""

    handle: str
    capacity: int


class Engine(Protocol):
    name: str

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str]) -> Volume:
        """Idempotent by handle. Raises VolumeError when the pool has no room."""

    async def delete(self, handle: str) -> None:
        """Removes the data. Idempotent. Raises VolumeError while it is staged."""

    async def stage(self, handle: str, target: str, *, read_only: bool = False) -> str:
        """Mounts it at ``target`` (verifying its identity marker) and returns the path members get (its ``data/``). Idempotent."""

    async def unstage(self, handle: str, target: str) -> None: ...

    async def close(self) -> None:
        """Lets go of pool mounts and loop devices; data stays."""
