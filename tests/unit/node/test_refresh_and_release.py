"""Files that are being written anew while their pod ends: they are waited for, and nothing of them stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.lib.clock import SystemClock
from holdfast.node.volumes.manager import NodeVolumes

POD = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"volumes": [{"name": "c", "configMap": {"name": "c"}}]}}


async def test_a_pod_that_ends_while_its_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = NodeVolumes(cast("Any", None), {}, tmp_path, "n", "boot", SystemClock(), dict)
    await volumes.start()
    begun, go_on = asyncio.Event(), asyncio.Event()
    written = []

    async def render(_pod: Any, _volume: Any, target: Path) -> None:
        begun.set()
        await go_on.wait()
        await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)
        written.append(target)

    monkeypatch.setattr(volumes, "_render", render)
    go_on.set()
    await volumes.prepare(POD)
    go_on.clear()
    begun.clear()
    refresh = asyncio.create_task(volumes.refresh(POD))
    await begun.wait()
    refresh.cancel()
    await asyncio.wait([refresh])
    release = asyncio.create_task(volumes.release("u"))
    await asyncio.sleep(0)
    assert not release.done()
    go_on.set()
    await release
    assert len(written) == 2
    assert not written[0].exists()
    await volumes.refresh(POD)
    assert len(written) == 2, "nothing is made for a pod that holds nothing"
