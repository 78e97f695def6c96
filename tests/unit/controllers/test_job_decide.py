"""Jobs, case by case: indexes as text, back-off, policies, names, limits by index, what a verdict waits for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.job import backoff, objects, policy, ttl
from holdfast.controllers.job.backoff import Backoff
from holdfast.controllers.job.decide import MOST_UNCOUNTED, CreatePod, DeletePod, LetGo, Plan, Seen, Untrack, decide
from holdfast.controllers.job.indexes import Indexes
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery import meta

NOW = 1_800_000_000.0
INDEX_SETS = st.sets(st.integers(0, 40))


def job(status: Obj | None = None, *, deleted: bool = False, **spec: Any) -> Obj:
    inner = {"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}
    full = {"parallelism": 2, "completions": 3, "backoffLimit": 6, "template": {"metadata": {"labels": {"a": "b"}}, "spec": inner}}
    metadata = {"name": "j", "namespace": "ns", "uid": "job"} | ({"deletionTimestamp": rfc3339(NOW)} if deleted else {})
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": full | spec, "status": status or {}}


def pod(
    name: str, phase: str = "Running", *, index: int = -1, tracked: bool = True, going: bool = False, failures: int = 0, **status: Any
) -> Obj:
    metadata: Obj = {"name": name, "namespace": "ns", "uid": f"uid-{name}", "creationTimestamp": rfc3339(NOW - 100), "annotations": {}}
    if index >= 0:
        metadata["annotations"] = {objects.INDEX: str(index), objects.FAILURES: str(failures)}
    if tracked:
        metadata["finalizers"] = [objects.FINALIZER]
    if going:
        metadata["deletionTimestamp"] = rfc3339(NOW)
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase, **status}}


def plan(owner: Obj, *pods: Obj, last: Backoff | None = None, failed_at: float = 0.0, moment: float = 0.0) -> Plan:
    moments = {meta.uid(p): failed_at for p in pods}
    return decide(Seen(owner, [*pods], {meta.name(p) for p in pods}, last or Backoff(), moments), NOW, moment)


def of(kind: type, found: Plan) -> list[str]:
    """The pods of the intents of that kind; of those to be created their index."""
    pods = [intent.pod for intent in found.intents if isinstance(intent, kind)]
    return [str(objects.index_of(p)) if kind is CreatePod else meta.name(p) for p in pods]


def ended(code: int, name: str = "c") -> Obj:
    return {"containerStatuses": [{"name": name, "state": {"terminated": {"exitCode": code, "finishedAt": rfc3339(NOW - 5)}}}]}


# Indexes


@given(INDEX_SETS, INDEX_SETS)
def test_indexes_are_sets(one: set[int], other: set[int]) -> None:
    made, second = Indexes().with_each(one), Indexes().with_each(other)
    assert Indexes.parse(str(made), 41) == made
    assert {index for index in range(60) if index in made} == one
    assert len(made) == len(one)
    assert made.common(second) == len(one & other)
    assert made.joined(second.intervals) == Indexes().with_each(one | other)
    assert [*made.missing(41)] == sorted(set(range(41)) - one)
    assert all(b + 1 < c for (_, b), (c, _) in zip(made.intervals, made.intervals[1:], strict=False))


@pytest.mark.parametrize(("indexes", "text"), [([], ""), ([3], "3"), ([1, 2], "1,2"), ([0, 1, 2, 5, 7, 8, 9], "0-2,5,7-9")])
def test_indexes_as_upstream_writes_them(indexes: list[int], text: str) -> None:
    assert str(Indexes().with_each(indexes)) == text


def test_what_is_no_index_is_left_out() -> None:
    assert str(Indexes.parse(f"1,x,3-y,4-9,12,-2,5-,{'9' * 5000},٥", 8)) == "1,4-7"


@pytest.mark.parametrize("text", ["", "x", "-1", "1_0", "٥", "9" * 5000])
def test_an_annotation_that_is_no_number_is_no_index(text: str) -> None:
    made = pod("p")
    made["metadata"]["annotations"] = dict.fromkeys((objects.INDEX, objects.FAILURES, objects.IGNORED), text)
    assert (objects.index_of(made), objects.failures_before(made)) == (objects.UNKNOWN, (0, 0))


# Back-off


def test_pauses_double_up_to_ten_minutes() -> None:
    assert [backoff.remaining(failures, 100.0, 100.0) for failures in (0, 1, 2, 3, 6, 7, 8, 10_000)] == [
        0,
        10,
        20,
        40,
        320,
        600,
        600,
        600,
    ]
    assert backoff.remaining(1, 100.0, 107.5) == 2.5
    assert backoff.remaining(1, 100.0, 111.0) == 0


def test_a_success_ends_the_row_of_failures() -> None:
    early, late = (pod(name, "Failed", **ended(1)) for name in ("early", "late"))
    late["status"] = {"phase": "Failed", **ended(1)}
    late["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = rfc3339(NOW)
    good = pod("good", "Succeeded", **ended(0))
    seen_at = {"uid-early": 1.0, "uid-late": 7.0}
    assert Backoff(3, 0.5).after([], [early], seen_at) == Backoff(4, 1.0)
    assert Backoff(3, 0.5).after([good], [early, late], seen_at) == Backoff(1, 7.0)
    assert Backoff(3, 0.5).after([good], [early], seen_at) == Backoff()
    assert Backoff(3, 0.5).after([], [], {}) == Backoff(3, 0.5)


def test_a_failed_pod_is_replaced_when_its_time_has_come() -> None:
    failed = pod("f", "Failed", **ended(1))
    waits = plan(job(parallelism=1), failed, failed_at=50, moment=53)
    assert of(CreatePod, waits) == []
    assert waits.again_after == 7
    assert len(of(CreatePod, plan(job(parallelism=1), failed, failed_at=50, moment=61))) == 1


# What a failure means

RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "Count", "onExitCodes": {"operator": "In", "values": [7]}},
    {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "NotIn", "values": [2, 3]}},
]


@pytest.mark.parametrize(
    ("status", "action"),
    [
        ({"conditions": [{"type": "DisruptionTarget", "status": "True"}], **ended(9)}, "Ignore"),
        ({"conditions": [{"type": "DisruptionTarget", "status": "False"}], **ended(7)}, "Count"),
        (ended(9), "FailJob"),
        (ended(9, "other"), ""),
        (ended(2), ""),
        (ended(0), ""),
        ({}, ""),
    ],
)
def test_the_first_rule_that_matches_decides(status: Obj, action: str) -> None:
    assert policy.of_failure(job(podFailurePolicy={"rules": RULES}), pod("p", "Failed", **status)).action == action


def test_a_rule_that_fails_the_job_is_told_and_waits_for_the_others() -> None:
    owner = job(podFailurePolicy={"rules": RULES}, podReplacementPolicy="Failed")
    first = plan(owner, pod("bad", "Failed", **ended(9)), pod("well"))
    (condition,) = first.status["conditions"]
    text = "Container c for pod ns/bad failed with exit code 9 matching FailJob rule at index 2"
    assert (condition["type"], condition["reason"], condition["message"]) == ("FailureTarget", "PodFailurePolicy", text)
    assert (of(DeletePod, first), of(Untrack, first)) == (["well"], ["bad"])
    then = plan({**owner, "status": first.status}, pod("bad", "Failed", tracked=False, **ended(9)), pod("well", going=True))
    assert of(Untrack, then) == ["well"]
    assert (then.status["failed"], then.status["uncountedTerminatedPods"]) == (1, {"failed": ["uid-well"]})
    assert not objects.is_finished({"status": then.status})
    last = plan({**owner, "status": then.status})
    assert (last.status["failed"], objects.is_finished({"status": last.status})) == (2, True)
    assert last.events == [("Warning", "PodFailurePolicy", text)]


def test_restarts_count_where_containers_are_restarted() -> None:
    owner = job(backoffLimit=2)
    owner["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    well = plan(owner, pod("p", containerStatuses=[{"name": "c", "restartCount": 1}]))
    assert "conditions" not in well.status
    over = plan(owner, pod("p", containerStatuses=[{"name": "c", "restartCount": 2}]))
    assert over.status["conditions"][0]["reason"] == "BackoffLimitExceeded"


# Limits by index


def test_the_last_failure_of_an_index_is_held_until_its_heir_is_there() -> None:
    owner = job(completionMode="Indexed", backoffLimitPerIndex=2, backoffLimit=2**31 - 1, parallelism=1)
    failed = pod("f", "Failed", index=0, failures=1, **ended(1))
    waits = plan(owner, failed, failed_at=0, moment=5)
    assert (of(Untrack, waits), of(CreatePod, waits), waits.again_after) == ([], [], 15)
    (made,) = (intent.pod for intent in plan(owner, failed, failed_at=0, moment=21).intents if isinstance(intent, CreatePod))
    assert (objects.index_of(made), meta.annotations_of(made)[objects.FAILURES]) == (0, "2")
    replaced = plan(owner, failed, pod("heir", index=0, failures=2))
    assert (of(Untrack, replaced), replaced.status["failedIndexes"]) == (["f"], "")
    lost = plan(owner, pod("g", "Failed", index=0, failures=2, **ended(1)), moment=100)
    assert (of(Untrack, lost), of(CreatePod, lost), lost.status["failedIndexes"]) == (["g"], ["1"], "0")


# How many


def test_pods_that_share_an_index_or_have_none_go() -> None:
    owner = job(completionMode="Indexed", parallelism=3)
    bound, free = pod("bound", index=1), pod("free", "Pending", index=1)
    bound["spec"] = {"nodeName": "n"}
    found = plan(owner, bound, free, pod("none"), pod("far", index=9), pod("own", index=0))
    assert sorted(of(LetGo, found)) == ["far", "free", "none"]


def test_a_pod_that_was_let_go_and_is_still_there_goes() -> None:
    assert of(LetGo, plan(job(), pod("stray", tracked=False), pod("own"))) == ["stray"]


def test_with_replacement_of_failed_pods_only_those_that_go_are_waited_for() -> None:
    assert len(of(CreatePod, plan(job(), pod("one"), pod("goes", going=True), moment=99))) == 1
    waits = plan(job(podReplacementPolicy="Failed"), pod("one"), pod("goes", going=True), moment=99)
    assert (of(CreatePod, waits), waits.status["terminating"]) == ([], 1)
    assert waits.status["uncountedTerminatedPods"] == {}


def test_never_too_many_are_named_at_once() -> None:
    many = [pod(f"p{number}", "Succeeded") for number in range(MOST_UNCOUNTED + 10)]
    found = plan(job(completions=10_000), *many)
    assert len(found.counted) == len(of(Untrack, found)) == MOST_UNCOUNTED
    again = plan({**job(completions=10_000), "status": found.status}, *many)
    assert (len(again.counted), len(of(Untrack, again))) == (0, MOST_UNCOUNTED)


def test_a_job_that_is_deleted_makes_nothing_and_frees_its_pods() -> None:
    found = plan(job(deleted=True), pod("runs"), pod("done", "Succeeded"))
    assert sorted(of(Untrack, found)) == ["done", "runs"]
    assert found.status["uncountedTerminatedPods"] == {"succeeded": ["uid-done"]}
    assert len(found.intents) == 2


def test_the_deadline_counts_from_the_start() -> None:
    status = {"startTime": rfc3339(NOW - 30)}
    assert plan(job(status, activeDeadlineSeconds=50), pod("p"), pod("q")).again_after == 20
    over = plan(job(status, activeDeadlineSeconds=30), pod("p"))
    assert (over.status["conditions"][0]["reason"], of(DeletePod, over)) == ("DeadlineExceeded", ["p"])
    rests = plan(job(status, activeDeadlineSeconds=30, suspend=True))
    assert [c["type"] for c in rests.status["conditions"]] == ["Suspended"]
    assert "startTime" not in rests.status


# Names


def test_the_same_name_is_asked_for_until_a_pod_has_ended() -> None:
    owner = job({"startTime": rfc3339(NOW)}, parallelism=1)
    names = [meta.name(intent.pod) for _ in range(2) for intent in plan(owner).intents if isinstance(intent, CreatePod)]
    assert names[0] == names[1]
    taken = objects.free_name(owner, objects.UNKNOWN, rfc3339(NOW), 0, names)
    assert taken not in names


def test_a_long_name_keeps_its_index() -> None:
    owner = job()
    owner["metadata"]["name"] = "n" * 63
    assert objects.base_name(owner, 1234) == "n" * 52 + "-1234-"
    assert len(objects.free_name(owner, objects.UNKNOWN, "", 0, ())) == 63


# Afterwards


def test_when_an_ended_job_goes() -> None:
    done = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": rfc3339(NOW)}]}
    assert ttl.goes_at(job(done, ttlSecondsAfterFinished=7)) == parse_rfc3339(rfc3339(NOW)) + 7
    assert ttl.goes_at(job(done)) is None
    assert ttl.goes_at(job({}, ttlSecondsAfterFinished=7)) is None
    assert ttl.goes_at(job(done, deleted=True, ttlSecondsAfterFinished=7)) is None
