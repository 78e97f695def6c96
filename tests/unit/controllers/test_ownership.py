"""Who is told of a change: every owner that it may be about, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.client.informer import Informer
from holdfast.controllers.ownership import concerned
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import REPLICASETS
from holdfast.machinery import meta, selectors


def owner(name: str, namespace: str = "default") -> Obj:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}", "resourceVersion": "1"}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": {"selector": {"matchLabels": {"app": name}}}}


def pod(app: str, of: Obj | None = None, **more: Any) -> Obj:
    references = {"ownerReferences": [meta.owner_reference(of)]} if of else {}
    return {"metadata": {"name": "p", "namespace": "default", "uid": "u", "labels": {"app": app}, **references}, **more}


ONE, OTHER = owner("one"), owner("other")
NAMESAKE = owner("one")
NAMESAKE["metadata"]["uid"] = "of one that is gone"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (None, pod("x", ONE), ["one"]),
        (pod("x", ONE), None, ["one"]),
        (pod("x", ONE), pod("x", OTHER), ["one", "other"]),
        (pod("one", ONE), pod("one"), ["one", "one"]),  # let go: it is nobody's now, and fits
        (None, pod("other"), ["other"]),
        (pod("one"), pod("other"), ["other"]),
        (pod("other"), pod("other", status={"phase": "Running"}), []),
        (pod("other"), None, []),
        (None, pod("nobody"), []),
        (None, pod("one", NAMESAKE), []),
    ],
)
def test_who_is_told_of_a_change(old: Obj | None, new: Obj | None, told: list[str]) -> None:
    owners = Informer(None, REPLICASETS)  # type: ignore[arg-type]
    for each in (ONE, OTHER, owner("other", "elsewhere")):
        owners._put(meta.key(each), each)
    found = concerned(owners, old, new, lambda each: selectors.from_object(each["spec"]["selector"]))
    assert [meta.key(each) for each in found] == [f"default/{name}" for name in told]
