"""What a storage said of a volume's last holder reaches the next one: its client only under a fence, its identity always."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from holdfast.kinds.sources import RBD
from holdfast.machinery.errors import ApiError
from holdfast.node.api import NotReady, VolumesLost
from holdfast.node.volumes.claims import HOLDING, ClaimVolumes, Held
from holdfast.volumes.api import Plain, Source, Staging, VolumeLost


class Storage(Plain):
    name = RBD

    def __init__(self) -> None:
        self.staged: list[tuple[Source, Staging]] = []
        self.lost = False

    async def stage(self, source: Source, staging: Staging) -> str:
        if self.lost:
            raise VolumeLost("its daemon has ended")
        self.staged.append((source, staging))
        return "/path"

    def holding(self, target: str) -> Mapping[str, str]:
        return {"client": "new", "image": "kube/1"}


class Api:
    """Secrets there are none but one; patches are kept."""

    def __init__(self) -> None:
        self.patches: list[dict[str, Any]] = []

    async def get(self, resource: Any, name: str, namespace: str = "") -> dict[str, Any]:
        if (resource.plural, namespace, name) == ("secrets", "apps", "s"):
            return {"data": {"key": "a2V5"}}
        raise ApiError(404, "NotFound", "not found")

    async def patch(self, resource: Any, name: str, namespace: str, patch: dict[str, Any], **_more: Any) -> dict[str, Any]:
        self.patches.append(patch["metadata"])
        return patch


def volume(*modes: str, secret: str = "s", holding: str = "") -> dict[str, Any]:
    rbd = {"monitors": ["a:1"], "pool": "kube", "image": "foo", "user": "u", "secretRef": {"name": secret}}
    metadata = {"name": "pv", "uid": "1", "resourceVersion": "7", "annotations": {HOLDING: holding} if holding else {}}
    return {"metadata": metadata, "spec": {"rbd": rbd, "accessModes": [*modes], "claimRef": {"namespace": "apps", "name": "c"}}}


POD = {"metadata": {"name": "p", "namespace": "apps", "uid": "u1"}, "spec": {}}


@pytest.mark.parametrize(("mode", "client"), [("ReadWriteOnce", True), ("ReadOnlyMany", False)])
async def test_the_former_client_is_known_only_under_a_fence(tmp_path: Path, mode: str, client: bool) -> None:
    storage, api = Storage(), Api()
    claims = ClaimVolumes(api, {RBD: storage}, tmp_path, "n", "boot", lambda _pv: set())  # type: ignore[arg-type, dict-item]
    known = json.dumps({"client": "old", "image": "kube/1"})
    await claims.mount(POD, "v", Held("pv", RBD, "kube/foo", client), volume(mode, holding=known))
    source, staging = storage.staged[0]
    assert source.secrets == {"key": "key"}
    assert staging.former == ({"client": "old", "image": "kube/1"} if client else {"image": "kube/1"})
    assert staging.read_only == (not client)
    assert json.loads(api.patches[-1]["annotations"][HOLDING]) == {"client": "new", "image": "kube/1"}
    assert api.patches[-1]["uid"] == "1"


async def test_what_cannot_be_mounted_says_why(tmp_path: Path) -> None:
    storage, api = Storage(), Api()
    claims = ClaimVolumes(api, {RBD: storage}, tmp_path, "n", "boot", lambda _pv: set())  # type: ignore[arg-type, dict-item]
    held = Held("pv", RBD, "kube/foo", exclusive=False)
    with pytest.raises(NotReady, match='secret "apps/none" not found'):
        await claims.mount(POD, "v", held, volume("ReadOnlyMany", secret="none"))
    with pytest.raises(NotReady, match="is not what was written there"):
        await claims.mount(POD, "v", held, volume("ReadOnlyMany", holding="[]"))
    storage.lost = True
    with pytest.raises(VolumesLost, match="its daemon has ended"):
        await claims.mount(POD, "v", held, volume("ReadOnlyMany"))
