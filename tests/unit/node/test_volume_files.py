"""Files of configMap, secret, projected and downwardAPI volumes: what they hold, and that they change together."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kinds.kind import Obj
from holdfast.node.api import NotReady
from holdfast.node.volumes import atomic, payload
from holdfast.node.volumes.atomic import File

POD: Obj = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"b": "2", "a": 'say "hi"'}},
    "spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": "64Mi"}}}]},
}


class Sources:
    objects: Mapping[tuple[str, str], Obj] = {
        ("ConfigMap", "m"): {"data": {"k": "v", "k2": "w"}, "binaryData": {"bin": base64.b64encode(b"\0\1").decode()}},
        ("Secret", "s"): {"data": {"password": base64.b64encode(b"pw").decode()}},
    }

    async def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        assert namespace == "ns"
        return self.objects.get((kind, name))

    async def token(self, pod: Obj, audience: str, seconds: int) -> str:
        return f"token for {audience or 'the API'}, {seconds} s"

    def capacity(self) -> Mapping[str, Any]:
        return {"cpu": "2"}


async def files(volume: Obj, pod: Obj = POD) -> dict[str, tuple[bytes, int]]:
    found = await payload.render(pod, {"name": "v", **volume}, Sources())
    return {path: (file.data, file.mode) for path, file in found.files.items()}


async def test_config_map() -> None:
    assert await files({"configMap": {"name": "m"}}) == {"k": (b"v", 0o644), "k2": (b"w", 0o644), "bin": (b"\0\1", 0o644)}
    items = [{"key": "k", "path": "sub/dir/k", "mode": 0o400}]
    assert await files({"configMap": {"name": "m", "items": items, "defaultMode": 0o600}}) == {"sub/dir/k": (b"v", 0o400)}


async def test_secrets_stay_in_memory() -> None:
    found = await payload.render(POD, {"name": "v", "secret": {"secretName": "s"}}, Sources())
    assert found.private
    assert found.files["password"].data == b"pw"


@pytest.mark.parametrize(
    ("volume", "says"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"configMap": {"name": "m", "items": [{"key": "x", "path": "x"}]}}, "references non-existent configmap key: x"),
        ({"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "spec.none"}}]}}, "unsupported fieldPath: spec.none"),
    ],
)
async def test_what_is_missing_is_named(volume: Obj, says: str) -> None:
    with pytest.raises(NotReady) as raised:
        await files(volume)
    assert raised.value.reason == "FailedMount"
    assert raised.value.message == f'MountVolume.SetUp failed for volume "v" : {says}'


async def test_optional_sources_may_be_missing() -> None:
    assert await files({"configMap": {"name": "none", "optional": True}}) == {}
    assert await files({"secret": {"secretName": "s", "optional": True, "items": [{"key": "x", "path": "x"}]}}) == {}


async def test_downward() -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "memory", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory", "divisor": "1Mi"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}},
    ]
    found = await files({"downwardAPI": {"items": items}})
    assert found["labels"][0] == b'a="say \\"hi\\""\nb="2"'
    assert (found["memory"][0], found["cpu"][0]) == (b"64", b"2")


async def test_a_token_is_for_its_pod_alone() -> None:
    volume = {"projected": {"defaultMode": 0o644, "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 900}}]}}
    assert await files(volume) == {"token": (b"token for the API, 900 s", 0o644)}
    own = {**POD, "spec": {**POD["spec"], "securityContext": {"runAsUser": 7}}}
    assert (await files(volume, own))["token"][1] == 0o600
    assert payload.file_owner(own) == 7


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "d/e", "d/f"]), st.binary(max_size=20)), min_size=1, max_size=5))
def test_the_directory_shows_the_last_files_and_no_others(versions: list[dict[str, bytes]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        before: dict[str, bytes] | None = None
        for version in versions:
            changed = atomic.write(directory, {name: File(data, 0o640) for name, data in version.items()})
            assert changed == (version != before)
            before = version
        shown = {p for p in os.listdir(directory) if not p.startswith("..")}
        assert shown == {name.split("/")[0] for name in versions[-1]}
        assert {name: (directory / name).read_bytes() for name in versions[-1]} == versions[-1]
        assert len([p for p in os.listdir(directory) if p.startswith("..2")]) == 1
