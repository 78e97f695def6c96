"""Keeps the rules equal to the informers' Services and EndpointSlices: changes are gathered for a moment, then applied whole."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from holdfast.kinds.kind import Obj
from holdfast.node.network import namespaces, nft
from holdfast.node.proxy.rules import CHAIN_NAME, TABLE, render, service_ports

log = logging.getLogger("holdfast.node.proxy")

GATHER_SECONDS = 0.005
RETRY_SECONDS = 1.0


class ServiceProxy:
    """``services`` and ``slices`` read the caches; call ``changed`` when they change; ``run`` applies."""

    def __init__(
        self,
        netns: Path,
        service_cidr: str,
        services: Callable[[], Iterable[Obj]],
        slices: Callable[[], Iterable[Obj]],
    ) -> None:
        self._netns = str(netns)
        self._cidr = service_cidr
        self._services = services
        self._slices = slices
        self._wake = asyncio.Event()
        self._held: set[str] | None = None
        self._applied = ""
        self._count = 0

    def changed(self) -> None:
        self._wake.set()

    def statistics(self) -> dict[str, int]:
        return {"applied": self._count, "names": len(self._held or ())}

    async def run(self) -> None:
        """Until cancelled. A failure is tried again; the old rules stay in force meanwhile."""
        self._wake.set()
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            try:
                await self.apply()
            except (nft.NftError, OSError) as error:
                log.warning("service rules could not be applied, the former ones stay: %s", error)
                self._held = None
                self._wake.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def apply(self) -> None:
        """One pass: what the caches say now is in force when this returns."""
        if self._held is None:
            self._held = await namespaces.run_in(self._netns, _existing)
            self._applied = ""
        text, wanted = render(service_ports(self._services(), self._slices()), self._cidr)
        if text == self._applied:
            return
        full, _ = render(service_ports(self._services(), self._slices()), self._cidr, self._held)
        await namespaces.run_in(self._netns, lambda: nft.run(full))
        self._held, self._applied = wanted, text
        self._count += 1


def _existing() -> set[str]:
    """What a former process left in the table."""
    try:
        answer = json.loads(nft.run(f"list table ip {TABLE}", json=True))
    except nft.NftError:
        return set()
    found = set()
    for item in answer.get("nftables", ()):
        for kind in ("chain", "set"):
            name = item.get(kind, {}).get("name", "")
            if CHAIN_NAME.match(name):
                found.add(f"{kind} {name}")
    return found
