"""What is left of a namespace that is being deleted: order of deletion and the words of its conditions."""

from __future__ import annotations

from holdfast.controllers.namespace import decide
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import CONFIGMAPS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS


def said(conditions: list[Obj]) -> dict[str, tuple[str, str, str]]:
    return {c["type"].removeprefix("Namespace"): (c["status"], c["reason"], c["message"]) for c in conditions}


def test_claims_outlive_pods() -> None:
    assert decide.order([PERSISTENTVOLUMECLAIMS, CONFIGMAPS, PODS, STATEFULSETS]) == [
        [PODS],
        [CONFIGMAPS, STATEFULSETS],
        [PERSISTENTVOLUMECLAIMS],
    ]


def test_what_remains_is_counted_and_named() -> None:
    left: dict[Resource, list[Obj]] = {
        PODS: [{"metadata": {}}, {"metadata": {}}],
        STATEFULSETS: [{"metadata": {"finalizers": ["a.io/x"]}}],
    }
    found = said(decide.conditions(left, ["secrets: no"], [], "now"))
    assert found["ContentRemaining"] == (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: pods. has 2 resource instances, statefulsets.apps has 1 resource instances",
    )
    assert found["FinalizersRemaining"] == (
        "True",
        "SomeFinalizersRemain",
        "Some content in the namespace has finalizers remaining: a.io/x in 1 resource instances",
    )
    assert found["DeletionContentFailure"] == ("True", "ContentDeletionFailed", "Failed to delete all resource types: secrets: no")


def test_times_move_with_the_status_only() -> None:
    first = decide.conditions({PODS: [{"metadata": {}}]}, [], [], "one")
    second = decide.conditions({}, [], first, "two")
    times = {c["type"]: c["lastTransitionTime"] for c in second}
    assert times["NamespaceContentRemaining"] == "two"
    assert times["NamespaceFinalizersRemaining"] == "one"
    assert said(second)["ContentRemaining"] == ("False", "ContentRemoved", "All content successfully removed")
