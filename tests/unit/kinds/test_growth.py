"""H10, KEP-1790: what is next for a claim that asks for more, and how its status says so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kinds.core import growth
from holdfast.kinds.core.growth import (
    CONTROLLER_ERROR,
    FS_PENDING,
    IN_PROGRESS,
    INFEASIBLE,
    NODE_ERROR,
    NODE_IN_PROGRESS,
    NODE_INFEASIBLE,
    NODE_PENDING,
    RESIZING,
    Grow,
)
from holdfast.kinds.kind import Obj
from holdfast.machinery import quantity

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def claim(asked: str, has: str = "1Gi", allocated: str = "", stage: str = "", **status: Any) -> Obj:
    full: Obj = {"phase": "Bound", "capacity": {"storage": has}, **status}
    if allocated:
        full["allocatedResources"] = {"storage": allocated}
    if stage:
        full["allocatedResourceStatuses"] = {"storage": stage}
    return {
        "metadata": {"name": "c", "namespace": "ns", "uid": "u"},
        "spec": {"resources": {"requests": {"storage": asked}}},
        "status": full,
    }


def volume(capacity: str, uid: str = "u") -> Obj:
    return {"metadata": {"name": "v"}, "spec": {"capacity": {"storage": capacity}, "claimRef": {"uid": uid}}}


@pytest.mark.parametrize(
    ("given", "capacity", "step"),
    [
        (claim("1Gi"), "1Gi", None),
        (claim("500Mi"), "1Gi", None),
        (claim("2Gi"), "1Gi", Grow("2Gi", begun=False)),
        (claim("2Gi", phase="Pending"), "1Gi", None),
        # A crash in between: what was begun goes on, whatever was asked for since.
        (claim("2Gi", allocated="2Gi", stage=IN_PROGRESS), "1Gi", Grow("2Gi", begun=True)),
        (claim("3Gi", allocated="2Gi", stage=IN_PROGRESS), "1Gi", Grow("2Gi", begun=True)),
        (claim("2Gi", allocated="2Gi", stage=IN_PROGRESS), "2Gi", Grow("2Gi", begun=True)),
        # Too much was asked for: the next wish counts.
        (claim("9Gi", allocated="9Gi", stage=INFEASIBLE), "1Gi", Grow("9Gi", begun=True)),
        (claim("2Gi", allocated="9Gi", stage=INFEASIBLE), "1Gi", Grow("2Gi", begun=False)),
        (claim("1Gi", allocated="9Gi", stage=INFEASIBLE), "1Gi", None),
        # It is the node's turn.
        (claim("2Gi", allocated="2Gi", stage=NODE_PENDING), "2Gi", None),
        (claim("2Gi", allocated="2Gi", stage=NODE_IN_PROGRESS), "2Gi", None),
        (claim("3Gi", allocated="2Gi", stage=NODE_PENDING), "2Gi", None),
        (claim("3Gi", has="2Gi", allocated="2Gi"), "2Gi", Grow("3Gi", begun=False)),
        (claim("2Gi", allocated="2Gi", stage=NODE_INFEASIBLE), "2Gi", Grow("2Gi", begun=True)),
    ],
)
def test_h10_what_the_engine_does_next(given: Obj, capacity: str, step: Grow | None) -> None:
    assert growth.wanted(given, volume(capacity)) == step


def test_h10_only_for_the_claim_that_the_volume_is_bound_to() -> None:
    assert growth.wanted(claim("2Gi"), volume("1Gi", uid="another")) is None


def after(given: Obj, status: Obj) -> Obj:
    """As a merge patch leaves it."""
    merged = {**given["status"], **status}
    return {**given, "status": {name: value for name, value in merged.items() if value is not None}}


def conditions(given: Obj) -> set[str]:
    return {entry["type"] for entry in given["status"].get("conditions") or []}


def test_h10_the_whole_way() -> None:
    one = claim("2Gi", conditions=[{"type": "Other", "status": "True"}])
    step = growth.wanted(one, volume("1Gi"))
    assert step is not None
    one = after(one, growth.begun(one, step, NOW))
    assert (growth.stage_of(one), conditions(one)) == (IN_PROGRESS, {"Other", RESIZING})
    assert one["status"]["allocatedResources"] == {"storage": "2Gi"}
    one = after(one, growth.on_the_node(one, NOW))
    assert (growth.stage_of(one), conditions(one)) == (NODE_PENDING, {"Other", RESIZING, FS_PENDING})
    pending = next(c for c in one["status"]["conditions"] if c["type"] == FS_PENDING)
    assert pending["message"] == "Waiting for user to (re-)start a pod to finish file system resize of volume on node."
    assert growth.due_on_node(one, volume("2Gi")) == "2Gi"
    one = after(one, growth.node_begun())
    assert growth.due_on_node(one, volume("2Gi")) == "2Gi", "a node that died in between does it again"
    one = after(one, growth.grown(one, "2Gi"))
    assert (growth.stage_of(one), conditions(one)) == ("", {"Other"})
    assert one["status"]["capacity"] == {"storage": "2Gi"}
    assert growth.due_on_node(one, volume("2Gi")) == ""
    assert growth.wanted(one, volume("2Gi")) is None


def test_h10_too_much_and_then_less() -> None:
    one = claim("9Gi")
    one = after(one, growth.begun(one, Grow("9Gi", begun=False), NOW))
    one = after(one, growth.failed(one, "no room", NOW))
    assert (growth.stage_of(one), conditions(one)) == (INFEASIBLE, {RESIZING, CONTROLLER_ERROR})
    said = next(c for c in one["status"]["conditions"] if c["type"] == CONTROLLER_ERROR)
    assert said["message"] == "failed to expand pvc with no room"
    one["spec"]["resources"]["requests"]["storage"] = "2Gi"
    step = growth.wanted(one, volume("1Gi"))
    assert step == Grow("2Gi", begun=False)
    one = after(one, growth.begun(one, step, LATER))
    assert (growth.stage_of(one), conditions(one)) == (IN_PROGRESS, {RESIZING})


def test_h10_a_node_that_cannot() -> None:
    one = claim("2Gi", allocated="2Gi", stage=NODE_PENDING)
    never = after(one, growth.node_failed(one, "never", NOW))
    assert (growth.stage_of(never), conditions(never)) == (NODE_INFEASIBLE, {NODE_ERROR})
    assert growth.due_on_node(never, volume("2Gi")) == "2Gi"


sizes = st.integers(1, 6)


@given(st.lists(st.tuples(sizes, st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_h10_it_only_grows_and_ends_with_what_was_asked_for(steps: list[tuple[int, bool, bool]]) -> None:
    """Wishes, refusals and delays in any order: what a claim has never shrinks, and the last possible wish comes true."""
    one, lies = claim("1Gi"), 1

    def work(possible: bool, patient: bool) -> None:
        nonlocal one, lies
        before = quantity.parse(one["status"]["capacity"]["storage"])
        if (step := growth.wanted(one, volume(f"{lies}Gi"))) is not None:
            one = after(one, growth.begun(one, step, NOW))
            if not possible:
                one = after(one, growth.failed(one, "no", NOW))
            else:
                lies = max(lies, int(step.size.removesuffix("Gi")))
                if patient:
                    one = after(one, growth.on_the_node(one, NOW))
        elif (capacity := growth.due_on_node(one, volume(f"{lies}Gi"))) and patient:
            one = after(one, growth.grown(one, capacity))
        assert quantity.parse(one["status"]["capacity"]["storage"]) >= before
        assert quantity.parse(one["status"]["capacity"]["storage"]) <= lies * 2**30

    for asked, possible, patient in steps:
        if asked > int(one["status"]["capacity"]["storage"].removesuffix("Gi")):  # the server refuses others
            one = {**one, "spec": {"resources": {"requests": {"storage": f"{asked}Gi"}}}}
        work(possible, patient)
    for _ in range(8):
        work(possible=True, patient=True)
    asked_last = quantity.parse(one["spec"]["resources"]["requests"]["storage"])
    assert quantity.parse(one["status"]["capacity"]["storage"]) >= asked_last
    assert growth.stage_of(one) == ""
    assert not conditions(one)
