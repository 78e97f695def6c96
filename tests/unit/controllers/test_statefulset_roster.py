"""A roster that is kept up as pods come, change and go says what one made of the same pods anew says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.statefulset import objects
from holdfast.controllers.statefulset.roster import Health, Roster
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339, rfc3339

START = parse_rfc3339("2026-01-01T00:00:00Z")
STATES = st.fixed_dictionaries(
    {
        "uid": st.integers(0, 2),
        "revision": st.sampled_from(["a", "b"]),
        "phase": st.sampled_from(["", "Pending", "Running", "Running", "Failed", "Succeeded"]),
        "ready": st.booleans(),
        "since": st.integers(0, 20),
        "terminating": st.booleans(),
        "labelled": st.booleans(),
        "restarts": st.integers(0, 1),
    }
)
CHANGES = st.lists(st.tuples(st.integers(0, 4), st.none() | STATES), max_size=40)


def make_set(patience: int) -> Obj:
    metadata = {"name": "web", "namespace": "ns", "uid": "set"}
    spec = {"replicas": 5, "minReadySeconds": patience, "template": {}, "selector": {}}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}


def make_pod(number: int, state: dict[str, Any]) -> Obj:
    pod = objects.build_pod(make_set(0), {"spec": {"containers": []}}, state["revision"], number)
    pod["metadata"]["uid"] = f"{number}-{state['uid']}"
    if state["terminating"]:
        pod["metadata"]["deletionTimestamp"] = rfc3339(START)
    if not state["labelled"]:
        del pod["metadata"]["labels"][objects.POD_INDEX]
    ready = {"type": "Ready", "status": str(state["ready"]), "lastTransitionTime": rfc3339(START + state["since"])}
    status = {"phase": state["phase"], "conditions": [ready], "startTime": rfc3339(START)}
    return {**pod, "status": status | {"containerStatuses": [{"restartCount": state["restarts"]}]}}


@given(CHANGES, st.sampled_from([0, 10]))
def test_kept_up_or_made_anew(changes: list[tuple[int, dict[str, Any] | None]], patience: int) -> None:
    kept = Roster()
    pods: dict[int, Obj] = {}
    for number, state in changes:
        if state is None:
            if number in pods:
                kept.drop(pods.pop(number))
        else:
            pods[number] = make_pod(number, state)
            kept.put(pods[number])
    fresh = Roster(pods.values())
    assert (kept.pods, kept.looks, kept.alike) == (fresh.pods, fresh.looks, fresh.alike)
    assert all(kept.alike.values()), "no empty group stays"
    now = START + 15
    health = Health(make_set(patience), kept, now)
    well = {number for number, pod in pods.items() if objects.is_healthy(make_set(patience), pod, now)}
    assert health.some() == {number for number in range(5) if health.of(number)} == well
    assert health.some("a") == {number for number in well if objects.revision_of(pods[number]) == "a"}
    assert kept.revisions() == {objects.revision_of(pod) for pod in pods.values()}


@given(STATES, STATES)
def test_put_says_whether_anything_is_to_be_decided_anew(one: dict[str, Any], other: dict[str, Any]) -> None:
    roster = Roster([make_pod(0, one)])
    before = roster.looks[0]
    changed = roster.put(make_pod(0, other))
    ready_at = one["since"] != other["since"] and roster.looks[0].ready
    assert changed == (roster.looks[0] != before or one["uid"] != other["uid"] or ready_at)
    assert not roster.put(make_pod(0, other)), "the same once more is nothing new"


def test_another_pod_in_the_place_of_the_dropped_one_stays() -> None:
    state = {"uid": 1, "revision": "a", "phase": "Pending", "ready": False, "since": 0, "terminating": False, "labelled": True}
    old, new = make_pod(0, {**state, "restarts": 0}), make_pod(0, {**state, "uid": 2, "restarts": 0})
    roster = Roster([old])
    roster.put(new)
    roster.drop(old)
    assert roster.pods == {0: new}
