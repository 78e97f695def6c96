"""The status that a pass decides on: counters, revisions, availability."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.statefulset import objects
from holdfast.controllers.statefulset.decide import Seen, decide
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from tests.unit.controllers.test_statefulset_decide import NOW, STAMP, TEMPLATES, make_set, member, members, run, template, told


def test_the_counters_of_the_status() -> None:
    owner = make_set(4)
    pods = members(owner, "0:old 1:old:unready 2 3:gone 4:Pending")
    unborn = {**member(owner, 5), "status": {}}
    status = run(owner, [*pods, unborn], current="old").status
    del status["conditions"]
    assert status == {
        "observedGeneration": 1,
        "replicas": 5,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "currentReplicas": 2,
        "updatedReplicas": 2,
        "currentRevision": "old",
        "updateRevision": "new",
        "collisionCount": 0,
    }


STATES = st.sampled_from(["ready", "unready", "Pending", "Failed"])
THIRD = {**TEMPLATES, "third": template("third")}


@given(
    there=st.lists(st.tuples(st.sampled_from(sorted(THIRD)), STATES, st.booleans())),
    replicas=st.integers(0, 8),
    strategy=st.sampled_from([{"type": "RollingUpdate"}, {"type": "OnDelete"}, {"type": "Recreate"}]),
)
def test_r42_r38_counters_are_a_recount_whatever_is_in_flight(there: list[tuple[str, str, bool]], replicas: int, strategy: Obj) -> None:
    """Three revisions, members that go, that failed, too many of them: never negative, never more than there are."""
    owner = make_set(replicas, updateStrategy=strategy, status={"currentReplicas": 7, "updatedReplicas": 7, "replicas": 7})
    pods = []
    for number, (revision, state, going) in enumerate(there):
        pod = member(owner, number, state, "old", terminating=going)
        pod["metadata"]["labels"][objects.REVISION] = revision
        pods.append(pod)
    status = decide(Seen(owner, pods, {}, "old", "new", THIRD), NOW).status
    staying = Counter(revision for revision, _, going in there if not going)
    ready = sum(state == "ready" for _, state, _ in there)
    complete = status["currentRevision"] == "new"
    wanted = {"updatedReplicas": staying["new"], "currentReplicas": staying["new" if complete else "old"], "readyReplicas": ready}
    assert {name: status.get(name, 0) for name in wanted} == wanted
    assert status["replicas"] == len(there)
    whole = staying["new"] == ready == len(there) == replicas
    assert complete == (whole and strategy["type"] != "OnDelete")


def test_r43_on_delete_never_makes_the_update_revision_the_current_one() -> None:
    """As upstream (kubernetes#73492, #106055), and consistent: nobody is counted as current any more."""
    owner = make_set(updateStrategy={"type": "OnDelete"})
    status = run(owner, members(owner, "0 1 2"), current="old").status
    assert (status["currentRevision"], status["updateRevision"]) == ("old", "new")
    assert (status.get("currentReplicas", 0), status["updatedReplicas"]) == (0, 3)


def test_counters_of_nothing_are_left_out() -> None:
    status = run(make_set(), []).status
    assert "readyReplicas" not in status
    assert (status["replicas"], status["availableReplicas"], status["collisionCount"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("strategy", "pods", "done"),
    [
        ("RollingUpdate", "0 1 2", True),
        ("RollingUpdate", "0 1 2:unready", False),
        ("RollingUpdate", "0 1 2:gone", False),
        ("RollingUpdate", "0:old 1 2", False),
        ("RollingUpdate", "0 1 2 3", False),
        ("Recreate", "0 1 2", True),
        ("Recreate", "0 1 2:unready", False),
    ],
)
def test_the_update_revision_becomes_current_when_every_member_has_it(strategy: str, pods: str, done: bool) -> None:
    owner = make_set(updateStrategy={"type": strategy})
    status = run(owner, members(owner, pods), current="old").status
    assert status["currentRevision"] == ("new" if done else "old")
    assert status.get("currentReplicas") == (3 if done else pods.count("old") or None)


@pytest.mark.parametrize(
    ("policy_", "pods", "wanted"),
    [
        ("Parallel", "0:old 1:old 2 3", []),
        ("Parallel", "0:old 1:old 2:old 3", ["delete web-2"]),
        ("OrderedReady", "0:old 1:old 2:old 3", []),
    ],
)
def test_r44_ready_but_not_available_is_away(policy_: str, pods: str, wanted: list[str]) -> None:
    """Those of the new revision are Ready for ten seconds of the thirty that make them available; two may be away."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 2}}
    owner = make_set(4, podManagementPolicy=policy_, updateStrategy=strategy, minReadySeconds=30)
    found = members(owner, pods)
    for pod in found:
        if objects.revision_of(pod) == "old":
            pod["status"]["conditions"][0]["lastTransitionTime"] = "2025-12-31T00:00:00Z"
    plan = run(owner, found, current="old", now=parse_rfc3339(STAMP) + 10)
    assert told(plan) == wanted
    assert plan.again_after > 0


@pytest.mark.parametrize("policy_", ["OrderedReady", "Parallel"])
def test_r44_scaling_down_over_members_that_are_not_available_does_not_hang(policy_: str) -> None:
    """kubernetes#123918: it goes on by itself, at the latest when time has made them available."""
    owner = make_set(1, podManagementPolicy=policy_, minReadySeconds=30)
    early, late = (run(owner, members(owner, "0 1 2"), now=parse_rfc3339(STAMP) + seconds) for seconds in (10, 31))
    assert told(early) == ([] if policy_ == "OrderedReady" else ["delete web-2", "delete web-1"])
    assert 20 <= early.again_after <= 21
    assert told(late)[0] == "delete web-2"


def test_unavailable_members_are_ready_but_not_available() -> None:
    owner = make_set(minReadySeconds=30)
    status = run(owner, members(owner, "0 1"), now=parse_rfc3339(STAMP) + 5).status
    assert (status["readyReplicas"], status["availableReplicas"]) == (2, 0)


def test_conditions_set_by_others_are_kept() -> None:
    conditions = [{"type": "Example", "status": "True"}]
    assert run(make_set(status={"conditions": conditions}), []).status["conditions"][3:] == conditions
