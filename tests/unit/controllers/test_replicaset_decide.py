"""How many pods a ReplicaSet makes, which it deletes, and what it says of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers import pods as state
from holdfast.controllers.replicaset import status
from holdfast.controllers.replicaset.decide import BURST, build_pod, decide
from holdfast.controllers.replicaset.ranking import COST, first_to_go
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

NOW = 1_800_000_000.0
LABELS = {"app": "a"}


def make_set(replicas: int | None = 3, **spec: Any) -> Obj:
    template = {"metadata": {"labels": LABELS, "annotations": {"x": "y"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    given: Obj = {"selector": {"matchLabels": LABELS}, "template": template, **spec}
    if replicas is not None:
        given["replicas"] = replicas
    metadata = {"name": "a", "namespace": "ns", "uid": "set", "generation": 2}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": given, "status": {}}


def pod(
    name: str,
    *,
    node: str = "n",
    phase: str = "Running",
    ready: float | None = 1000.0,
    age: float = 2000.0,
    restarts: int = 0,
    cost: str = "",
    labels: Obj | None = None,
    terminating: bool = False,
) -> Obj:
    """``ready``: for so many seconds; None = it is not."""
    metadata: Obj = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "labels": LABELS if labels is None else labels}
    metadata["creationTimestamp"] = rfc3339(NOW - age)
    if cost:
        metadata["annotations"] = {COST: cost}
    if terminating:
        metadata["deletionTimestamp"] = rfc3339(NOW)
    word = {"type": "Ready", "status": "False" if ready is None else "True", "lastTransitionTime": rfc3339(NOW - (ready or 0))}
    statuses = [{"name": "c", "restartCount": restarts}]
    spec = {"containers": [], **({"nodeName": node} if node else {})}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, "conditions": [word], "containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (pod("z", node="", ready=None), pod("a")),
        (pod("z", phase="Pending", ready=None), pod("a", phase="Unknown", ready=None)),
        (pod("z", phase="Unknown", ready=None), pod("a", ready=None)),
        (pod("z", ready=None), pod("a")),
        (pod("z", cost="-5"), pod("a")),
        (pod("z"), pod("a", cost="7")),
        (pod("z", cost="nonsense"), pod("a", cost="1")),
        (pod("z", cost="1", ready=10000), pod("a", cost="2", ready=10)),
        (pod("z", ready=10), pod("a", ready=10000)),
        (pod("z", restarts=2), pod("a")),
        (pod("z", age=1000), pod("a", age=9000)),
        (pod("a", ready=1000), pod("b", ready=1001)),  # of the same order of age: any, but always the same
    ],
)
def test_which_of_two_goes_first(first: Obj, then: Obj) -> None:
    for order in ([first, then], [then, first]):
        assert first_to_go(order, {}, NOW) == [first, then]


def test_where_many_are_together_one_goes_first() -> None:
    crowded, alone = pod("z", node="one"), pod("a", node="two")
    assert first_to_go([alone, crowded], {"one": 2, "two": 1}, NOW) == [crowded, alone]
    assert first_to_go([alone, crowded], {"one": 1, "two": 2}, NOW) == [alone, crowded]


def test_what_is_asked_of_the_cost_is_a_plain_number() -> None:
    odd = ("+5", "05", "5.0", " 5", "٥", "-", str(2**31), "9" * 5000)
    assert [first_to_go([pod("a"), pod("z", cost=text)], {}, NOW)[0]["metadata"]["name"] for text in odd] == ["a"] * len(odd)


@pytest.mark.parametrize(
    ("replicas", "pods", "create", "deleted"),
    [
        (3, [], 3, []),
        (None, [], 1, []),
        (3, [pod("a"), pod("b")], 1, []),
        (1, [pod("a"), pod("b", ready=None)], 0, ["b"]),
        (2, [pod("a"), pod("b", terminating=True)], 1, []),
        (2, [pod("a"), pod("b", phase="Failed", ready=None)], 1, []),
        (0, [pod("a"), pod("b", terminating=True), pod("c", phase="Succeeded")], 0, ["a"]),
        (2000, [], BURST, []),
    ],
)
def test_what_is_missing_is_made_and_what_is_too_many_deleted(
    replicas: int | None, pods: list[Obj], create: int, deleted: list[str]
) -> None:
    plan = decide(make_set(replicas), pods, {}, NOW)
    assert (plan.create, [meta.name(p) for p in plan.delete]) == (create, deleted)


def test_a_set_that_goes_does_nothing_more() -> None:
    owner = make_set(3)
    owner["metadata"]["deletionTimestamp"] = rfc3339(NOW)
    assert decide(owner, [], {}, NOW).create == 0


PODS = st.builds(
    pod,
    st.uuids().map(str),
    node=st.sampled_from(["", "one", "two"]),
    phase=st.sampled_from(["Pending", "Running", "Unknown", "Failed", "Succeeded"]),
    ready=st.none() | st.sampled_from([1.0, 1.5, 1000.0]),
    age=st.sampled_from([1.0, 2000.0]),
    restarts=st.integers(0, 2),
    cost=st.sampled_from(["", "-1", "3"]),
    terminating=st.booleans(),
)


@given(st.integers(0, 5), st.lists(PODS, max_size=8))
def test_after_a_pass_there_are_as_many_as_wanted_and_the_worse_have_gone(replicas: int, pods: list[Obj]) -> None:
    plan = decide(make_set(replicas), pods, {}, NOW)
    active = [p for p in pods if state.is_active(p)]
    assert len(active) + plan.create - len(plan.delete) == replicas
    assert not plan.create or not plan.delete
    assert all(p in active for p in plan.delete)
    kept = [p for p in active if p not in plan.delete]
    assert not any(state.is_ready(gone) and not state.is_ready(left) for gone in plan.delete for left in kept if _alike(gone, left))


def _alike(one: Obj, other: Obj) -> bool:
    return bool(one["spec"].get("nodeName")) == bool(other["spec"].get("nodeName")) and state.phase(one) == state.phase(other)


@given(st.lists(PODS, max_size=6))
def test_the_order_does_not_depend_on_how_pods_were_listed(pods: list[Obj]) -> None:
    some = itertools.islice(itertools.permutations(pods), 24)
    assert len({tuple(meta.name(p) for p in first_to_go(each, {"one": 2}, NOW)) for each in some}) == 1


def test_a_pod_is_the_templates_and_has_a_name_like_those_of_the_server() -> None:
    owner = make_set(1)
    made = build_pod(owner)
    name = made["metadata"].pop("name")
    assert name.startswith("a-")
    assert len(name) == len("a-") + 5
    assert made["metadata"] == {
        "generateName": "a-",
        "namespace": "ns",
        "labels": LABELS,
        "annotations": {"x": "y"},
        "ownerReferences": [meta.owner_reference(owner)],
    }
    assert made["spec"] == owner["spec"]["template"]["spec"]
    assert made["spec"] is not owner["spec"]["template"]["spec"]


def test_the_status_counts() -> None:
    owner = make_set(3, minReadySeconds=60)
    pods = [
        pod("a", ready=61),
        pod("b", ready=10),
        pod("c", ready=None, labels={}),
        pod("d", terminating=True),
        pod("e", phase="Failed"),
    ]
    assert status.count(owner, pods, "", NOW) == {
        "replicas": 3,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 1,
        "terminatingReplicas": 1,
        "observedGeneration": 2,
    }
    assert "terminatingReplicas" not in status.count(owner, pods, "", NOW, terminating=False)
    assert state.next_available(pods, 60, NOW) == pytest.approx(50.1)
    assert status.count(owner, [], "", NOW) == {"replicas": 0, "terminatingReplicas": 0, "observedGeneration": 2}


@pytest.mark.parametrize(("replicas", "reason"), [(3, "FailedCreate"), (0, "FailedDelete")])
def test_a_failure_is_told_as_it_was_first_until_it_is_over(replicas: int, reason: str) -> None:
    owner = make_set(replicas)
    other = {"type": "Mine", "status": "True"}
    owner["status"] = {"conditions": [other]}
    first = status.count(owner, [pod("a")], "quota", NOW)["conditions"]
    told = {"type": "ReplicaFailure", "status": "True", "lastTransitionTime": rfc3339(NOW), "reason": reason, "message": "quota"}
    assert first == [other, told]
    owner["status"] = {"conditions": first}
    assert status.count(owner, [pod("a")], "still", NOW + 9)["conditions"] == first
    assert status.count(owner, [pod("a")], "", NOW + 9)["conditions"] == [other]
