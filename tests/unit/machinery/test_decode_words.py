"""Mistyped fields: as Go's JSON decoder names them, and as upstream's converter of patched trees does."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.kinds.schemas import schema_of
from holdfast.machinery.decode import MistypedError, decode, go_text


@pytest.mark.parametrize(
    ("body", "said", "restored"),
    [
        ({"spec": {"replicas": "x"}}, "string into Go struct field StatefulSetSpec.spec.replicas of type int32",
         "unrecognized type: int32"),
        ({"spec": {"template": []}}, "array into Go struct field StatefulSetSpec.spec.template of type v1.PodTemplateSpec",
         "cannot restore struct from: slice"),
        ({"spec": {"volumeClaimTemplates": "x"}}, "string into Go struct field StatefulSetSpec.spec.volumeClaimTemplates of type "
         "[]v1.PersistentVolumeClaim", "cannot restore slice from: string"),
        ({"metadata": {"labels": {"a": 1}}}, "number into Go struct field ObjectMeta.metadata.labels of type string",
         "unrecognized type: string"),
    ],
)  # fmt: skip
def test_mistyped(body: dict[str, Any], said: str, restored: str) -> None:
    with pytest.raises(MistypedError) as caught:
        decode(schema_of("io.k8s.api.apps.v1.StatefulSet"), body)
    assert (caught.value.message, caught.value.restored) == (f"json: cannot unmarshal {said}", restored)


def test_go_text() -> None:
    assert go_text({"b": [1, None, True], "a": {"x": "y"}}) == "map[a:map[x:y] b:[1 <nil> true]]"
