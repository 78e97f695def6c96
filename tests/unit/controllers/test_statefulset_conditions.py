"""Conditions of a set, its progress deadline, the rollback that follows, and the repair of a stuck member: as ``decide`` says it."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.controllers.statefulset import conditions, objects, options
from holdfast.controllers.statefulset.decide import DeleteMember, Plan, RollBack, Seen, decide
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery import meta

START = parse_rfc3339("2026-01-01T00:00:00Z")
TEMPLATES: dict[str, Obj] = {name: {"metadata": {}, "spec": {"containers": [{"name": "c", "image": name}]}} for name in "abc"}
DEADLINE = {options.DEADLINE: "10m"}
ROLLBACK = {**DEADLINE, options.ROLLBACK: "true"}
BROKEN = [{"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]


def make_set(replicas: int = 3, annotations: dict[str, str] | None = None, generation: int = 1, **spec: Any) -> Obj:
    full = {
        "replicas": replicas,
        "serviceName": "s",
        "selector": {},
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        **spec,
    }
    metadata = {"name": "web", "namespace": "ns", "uid": "u", "generation": generation, "annotations": annotations or {}}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": full}


def member(owner: Obj, number: int, revision: str, state: str) -> Obj:
    """``state``: ready, starting, broken (never Ready), lost (was Ready)."""
    pod = objects.build_pod(owner, TEMPLATES[revision], revision, number)
    since = rfc3339(START + (60 if state in ("ready", "lost") else 0))
    ready = {"type": "Ready", "status": "True" if state == "ready" else "False", "lastTransitionTime": since}
    status: Obj = {"phase": "Running" if state in ("ready", "lost") else "Pending", "startTime": rfc3339(START), "conditions": [ready]}
    if state == "broken":
        status["containerStatuses"] = BROKEN
    return {**pod, "metadata": {**pod["metadata"], "uid": f"uid-{number}", "creationTimestamp": rfc3339(START)}, "status": status}


def members(owner: Obj, text: str) -> list[Obj]:
    """Words like ``0:a:ready``."""
    return [member(owner, int(number), revision, state) for number, revision, state in (word.split(":") for word in text.split())]


class Story:
    """One set through several syncs, its status carried along."""

    def __init__(self, owner: Obj) -> None:
        self.owner = owner
        self.current = "a"

    def sync(self, pods: str, update: str, at: float) -> Plan:
        seen = Seen(self.owner, members(self.owner, pods), {}, self.current, update, TEMPLATES)
        plan = decide(seen, START + at)
        self.owner = {**self.owner, "status": plan.status}
        self.current = plan.status["currentRevision"]
        return plan

    def change(self, **spec: Any) -> None:
        metadata = {**self.owner["metadata"], "generation": self.owner["metadata"]["generation"] + 1}
        self.owner = {**self.owner, "metadata": metadata, "spec": {**self.owner["spec"], **spec}}

    def annotate(self, **annotations: str) -> None:
        self.owner = {**self.owner, "metadata": {**self.owner["metadata"], "annotations": annotations}}

    def told(self, kind: str) -> tuple[str, str]:
        found = meta.condition(self.owner, kind)
        assert found is not None
        return found["status"], found["reason"]

    def since(self, kind: str) -> float:
        found = meta.condition(self.owner, kind)
        assert found is not None
        return parse_rfc3339(found["lastTransitionTime"]) - START


ALL = "0:a:ready 1:a:ready 2:a:ready"
STUCK = "0:a:ready 1:a:ready 2:b:broken"


@pytest.mark.parametrize(
    ("replicas", "most", "least"),
    [(0, None, 0), (1, None, 1), (2, None, 1), (3, None, 2), (3, 2, 1), (3, 3, 1), (4, "50%", 2), (10, "25%", 8), (1, "100%", 1)],
)
def test_sts_f6_how_many_must_be_available(replicas: int, most: int | str | None, least: int) -> None:
    rolling = {"partition": 0} | ({} if most is None else {"maxUnavailable": most})
    owner = make_set(replicas, updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})
    assert conditions.minimum(owner) == least


def test_sts_f6_a_set_becomes_available_and_says_so() -> None:
    story = Story(make_set())
    story.sync("", "a", 0)
    assert story.told("Available") == ("False", "MinimumReplicasUnavailable")
    assert story.told("Progressing") == ("True", "Reconciling")
    story.sync("0:a:ready 1:a:starting", "a", 100)
    assert story.since("Available") == 0, "it is still what it was"
    story.sync("0:a:ready 1:a:ready 2:a:starting", "a", 200)
    assert story.told("Available") == ("True", "MinimumReplicasAvailable")
    assert story.since("Available") == 200
    story.sync(ALL, "a", 300)
    assert story.told("Progressing") == ("True", "Complete")
    assert story.told("Stalled") == ("False", "Complete")
    assert story.since("Available") == 200
    assert story.since("Progressing") == 0


@pytest.mark.parametrize("annotations", [{}, DEADLINE, ROLLBACK])
def test_a_quiet_set_has_the_same_status_at_any_time(annotations: dict[str, str]) -> None:
    story = Story(make_set(annotations=annotations))
    first = story.sync(ALL, "a", 100)
    assert story.sync(ALL, "a", 100_000).status == first.status
    assert first.again_after == 0


@pytest.mark.parametrize("annotations", [{}, DEADLINE, ROLLBACK])
def test_a_waiting_set_has_the_same_status_until_its_deadline(annotations: dict[str, str]) -> None:
    story = Story(make_set(annotations=annotations))
    first = story.sync("0:a:starting", "a", 100)
    assert story.sync("0:a:starting", "a", 500).status == first.status


def test_without_a_deadline_a_set_may_take_for_ever() -> None:
    story = Story(make_set())
    story.sync("0:a:starting", "a", 0)
    plan = story.sync("0:a:starting", "a", 1e6)
    assert story.told("Stalled") == ("False", "Reconciling")
    assert plan.again_after == 0


def test_no_progress_until_the_deadline_is_a_stall() -> None:
    story = Story(make_set(annotations=DEADLINE))
    assert story.sync("0:a:starting", "a", 0).again_after == 600
    assert story.sync("0:a:ready 1:a:starting", "a", 500).again_after == 600, "each member has its time"
    assert story.sync("0:a:ready 1:a:starting", "a", 1099).again_after == 1
    assert story.told("Stalled")[0] == "False"
    plan = story.sync("0:a:ready 1:a:starting", "a", 1100)
    assert story.told("Stalled") == ("True", "ProgressDeadlineExceeded")
    assert story.told("Progressing") == ("False", "ProgressDeadlineExceeded")
    assert plan.intents == []
    assert plan.again_after == 0
    assert "web-1 is not Ready" in (meta.condition(story.owner, "Stalled") or {})["message"]
    story.sync("0:a:ready 1:a:ready 2:a:starting", "a", 1200)
    assert story.told("Stalled")[0] == "False", "it goes on after all"


def test_a_member_that_comes_and_goes_is_no_progress() -> None:
    story = Story(make_set(annotations=DEADLINE))
    story.sync("0:a:ready 1:a:starting", "a", 0)
    story.sync("0:a:lost 1:a:starting", "a", 300)
    story.sync("0:a:ready 1:a:starting", "a", 400)
    story.sync("0:a:ready 1:a:starting", "a", 600)
    assert story.told("Stalled") == ("True", "ProgressDeadlineExceeded")


def test_a_changed_spec_has_the_whole_time_again() -> None:
    story = Story(make_set(annotations=DEADLINE))
    story.sync(ALL, "a", 0)
    story.change(replicas=4)
    assert story.sync(ALL, "a", 5000).again_after == 600
    story.sync(ALL + " 3:a:starting", "a", 5599)
    assert story.told("Stalled")[0] == "False"
    story.sync(ALL + " 3:a:starting", "a", 5600)
    assert story.told("Stalled")[0] == "True"


def rollbacks(plan: Plan) -> list[tuple[str, str]]:
    return [(i.failed, i.revision) for i in plan.intents if isinstance(i, RollBack)]


def test_a_revision_that_stalls_is_rolled_back_once() -> None:
    story = Story(make_set(annotations=ROLLBACK))
    story.sync(ALL, "a", 0)
    story.change()
    story.sync("0:a:ready 1:a:ready 2:b:starting", "b", 100)
    assert rollbacks(story.sync(STUCK, "b", 699)) == []
    plan = story.sync(STUCK, "b", 700)
    assert rollbacks(plan) == [("b", "a")]
    (intent,) = plan.intents
    assert isinstance(intent, RollBack)
    assert intent.template == TEMPLATES["a"]
    story.annotate(**{**ROLLBACK, options.ROLLED_BACK: "b"})
    assert rollbacks(story.sync(STUCK, "b", 800)) == [], "whoever insists on it has it"
    assert story.told("Stalled")[0] == "True"


def test_the_last_complete_revision_is_remembered_past_one_that_never_was() -> None:
    """b never was complete; status.currentRevision alone would not tell when the set began with it."""
    story = Story(make_set(annotations=ROLLBACK))
    story.sync(ALL, "a", 0)
    for at, update in ((100, "b"), (200, "c")):
        story.change()
        story.sync(STUCK, update, at)
    assert rollbacks(story.sync("0:a:ready 1:a:ready 2:c:broken", "c", 800)) == [("c", "a")]
    fresh = Story(make_set(annotations=ROLLBACK))
    fresh.sync("0:a:broken", "a", 0)
    fresh.change()
    fresh.sync("0:b:broken", "b", 10)
    assert rollbacks(fresh.sync("0:b:broken", "b", 1000)) == [], "nothing that ever worked is known"


def test_opting_in_together_with_the_bad_template_is_early_enough() -> None:
    story = Story(make_set())
    story.sync(ALL, "a", 0)
    story.annotate(**ROLLBACK)
    story.change()
    story.sync(ALL, "b", 100)
    story.sync(STUCK, "b", 200)
    assert rollbacks(story.sync(STUCK, "b", 800)) == [("b", "a")]


def test_a_complete_revision_is_not_left_for_a_lost_member() -> None:
    story = Story(make_set(annotations=ROLLBACK))
    story.sync(ALL, "a", 0)
    story.sync("0:a:ready 1:a:ready 2:a:lost", "a", 100)
    plan = story.sync("0:a:ready 1:a:ready 2:a:lost", "a", 1000)
    assert story.told("Stalled")[0] == "True"
    assert rollbacks(plan) == []


# Unstick


def deleted(plan: Plan) -> list[str]:
    return [meta.name(i.pod) for i in plan.intents if isinstance(i, DeleteMember)]


UNSTICK = {options.UNSTICK: "true"}


@pytest.mark.parametrize(
    ("annotations", "pods", "gone"),
    [
        ({}, STUCK, []),
        (UNSTICK, STUCK, ["web-2"]),
        (UNSTICK, "0:a:ready 1:a:ready 2:b:starting", ["web-2"]),
        (UNSTICK, "0:a:ready 1:a:ready 2:b:lost", []),
        (UNSTICK, "0:a:ready 1:a:ready 2:a:broken", []),
        (UNSTICK, "0:a:ready 1:b:broken 2:b:broken", ["web-1"]),
        (UNSTICK, "0:a:lost 1:b:broken 2:b:broken", []),
        (ROLLBACK, STUCK, ["web-2"]),
        ({**ROLLBACK, options.UNSTICK: "false"}, STUCK, []),
        ({options.UNSTICK: "yes"}, STUCK, []),
        ({**UNSTICK, options.ROLLED_BACK: "b"}, "0:a:ready 1:a:ready 2:b:lost", ["web-2"]),
    ],
)
def test_r39_after_a_revert_a_member_that_never_was_ready_is_replaced(annotations: dict[str, str], pods: str, gone: list[str]) -> None:
    """kubernetes#67250. One at a time, in order, and never one that was Ready (unless its revision was rolled back from)."""
    assert deleted(Story(make_set(annotations=annotations)).sync(pods, "a", 100)) == gone


def test_r39_only_under_ordered_ready_and_never_against_on_delete() -> None:
    story = Story(make_set(annotations=UNSTICK, updateStrategy={"type": "OnDelete"}))
    assert deleted(story.sync(STUCK, "a", 100)) == []


def test_who_has_not_opted_in_is_told() -> None:
    story = Story(make_set())
    plan = story.sync(STUCK, "a", 100)
    assert story.told("Stalled") == ("True", "OutdatedMemberStuck")
    assert "kubectl delete pod/web-2 -n ns" in plan.waits[0].remedy


@pytest.mark.parametrize(
    ("annotations", "mistakes"),
    [
        ({}, 0),
        ({options.DEADLINE: "90s"}, 0),
        ({options.DEADLINE: "1h30m"}, 0),
        ({options.DEADLINE: "0s"}, 1),
        ({options.DEADLINE: "ten"}, 1),
        ({options.DEADLINE: ""}, 1),
        ({options.UNSTICK: "yes"}, 1),
        ({options.ROLLBACK: "true"}, 1),
        ({options.ROLLBACK: "false"}, 0),
        ({"holdfast.dev/other": "x"}, 0),
        ({"holdfast.dev/unstik": "true"}, 1),
        ({"holdfast.dev/progress_deadline": "10m"}, 1),
        ({"example.com/unstik": "true"}, 0),
    ],
)
def test_what_is_not_understood_is_ignored_and_told(annotations: dict[str, str], mistakes: int) -> None:
    found = options.of(make_set(annotations=annotations))
    assert len(found.mistakes) == mistakes
    assert not found.rollback
    assert not found.unstick


def test_a_duration() -> None:
    assert options.duration("1h30m") == 5400
    assert options.duration("1.5s") == 1.5


# Recreate


def test_e5_progressing_tells_of_a_recreate_from_its_first_deletion_to_its_end() -> None:
    story = Story(make_set(2, updateStrategy={"type": "Recreate"}))
    story.sync("0:a:ready 1:a:ready", "a", 100)
    assert story.told("Progressing") == ("True", "Complete")
    story.change()
    reasons = []
    for pods in ("0:a:ready 1:a:ready", "", "0:b:starting", "0:b:ready", "0:b:ready 1:b:starting"):
        story.sync(pods, "b", 200)
        reasons.append(story.told("Progressing"))
    assert reasons == [("True", conditions.RECREATING)] * 5
    story.sync("0:b:ready 1:b:ready", "b", 300)
    assert story.told("Progressing") == ("True", conditions.RECREATED)
    assert story.owner["status"]["currentRevision"] == "b"
    story.sync("0:b:ready 1:b:ready", "b", 400)
    assert story.told("Progressing") == ("True", conditions.RECREATED), "it stays until something else happens"
    story.sync("0:b:ready 1:b:lost", "b", 500)
    assert story.told("Progressing") == ("True", "Reconciling")
    story.sync("0:b:ready 1:b:ready", "b", 600)
    assert story.told("Progressing") == ("True", "Complete")


def test_e5_a_recreate_that_is_reverted_half_way_is_one_recreate() -> None:
    story = Story(make_set(2, updateStrategy={"type": "Recreate"}))
    both = "0:a:ready 1:a:ready"
    for pods, update in ((both, "a"), (both, "b"), ("0:b:broken", "b"), ("0:b:broken", "a"), ("", "a")):
        story.sync(pods, update, 100)
    assert story.told("Progressing") == ("True", conditions.RECREATING)
    story.sync(both, "a", 200)
    assert story.told("Progressing") == ("True", conditions.RECREATED)


def test_e5_a_recreate_without_progress_is_overdue_and_rolled_back() -> None:
    story = Story(make_set(2, ROLLBACK, updateStrategy={"type": "Recreate"}))
    story.sync("0:a:ready 1:a:ready", "a", 100)
    story.change()
    story.sync("0:a:ready 1:a:ready", "b", 200)
    plan = story.sync("0:b:broken", "b", 900)
    assert story.told("Progressing") == ("False", conditions.EXCEEDED)
    assert [type(intent) for intent in plan.intents] == [RollBack]
