"""How many pods of a budget may go: counts, percentages, owners, evicted pods, unhealthy ones."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.controllers.disruption import decide
from holdfast.controllers.disruption.decide import CountError, Expectation
from holdfast.lib.clock import rfc3339

NOW = 1_000_000_000.0


def budget(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "b", "namespace": "n", "generation": 3}, "spec": spec, "status": status or {}}


def pod(name: str, owner: str = "", ready: bool = True, **metadata: Any) -> dict[str, Any]:
    references = [{"kind": "StatefulSet", "name": owner, "uid": owner, "controller": True}] if owner else []
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, "ownerReferences": references, **metadata}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("spec", "expected", "desired"),
    [
        ({"minAvailable": 2}, 3, 2),
        ({"minAvailable": "50%"}, 5, 3),
        ({"minAvailable": "0%"}, 5, 0),
        ({"maxUnavailable": 1}, 5, 4),
        ({"maxUnavailable": "30%"}, 5, 3),
        ({"maxUnavailable": 9}, 5, 0),
        ({}, 0, 0),
    ],
)
def test_what_a_budget_wants_follows_from_its_owners_replicas(spec: dict[str, Any], expected: int, desired: int) -> None:
    pods = [pod(f"p-{n}", "set") for n in range(3)]
    assert decide.expectation(budget(**spec), pods, {"set": ("set", 5)}) == Expectation(expected, desired)


def test_two_replica_sets_of_one_deployment_want_its_replicas_once() -> None:
    pods = [pod("a", "old"), pod("b", "new")]
    scales = {"old": ("deployment", 4), "new": ("deployment", 4)}
    assert decide.expectation(budget(maxUnavailable=1), pods, scales) == Expectation(4, 3)


def test_pods_without_a_controller_are_named_and_not_expected() -> None:
    found = decide.expectation(budget(maxUnavailable=1), [pod("a"), pod("b", "set")], {"set": ("set", 1)})
    assert found == Expectation(1, 0, ("a",))


def test_an_owner_that_cannot_say_its_replicas_stops_the_count() -> None:
    with pytest.raises(CountError, match='found no controllers for pod "a"'):
        decide.expectation(budget(maxUnavailable=1), [pod("a", "job")], {})
    held = budget({"disruptionsAllowed": 2, "currentHealthy": 3}, maxUnavailable=1)
    status = decide.failed(held, "why", rfc3339(NOW))
    assert (status["disruptionsAllowed"], status["currentHealthy"]) == (0, 3)
    assert status["conditions"][0] | {} == {
        "type": "DisruptionAllowed",
        "status": "False",
        "reason": "SyncFailed",
        "message": "why",
        "observedGeneration": 3,
        "lastTransitionTime": rfc3339(NOW),
    }


def test_an_evicted_pod_counts_as_gone_for_two_minutes() -> None:
    evicted = {"a": rfc3339(NOW - 10), "b": rfc3339(NOW - 121), "c": rfc3339(NOW), "left": rfc3339(NOW)}
    pods = [pod("a"), pod("b"), pod("c", deletionTimestamp=rfc3339(NOW)), pod("d"), pod("e", ready=False)]
    gone = decide.disrupted(budget({"disruptedPods": evicted}), pods, NOW)
    assert gone.pods == {"a": rfc3339(NOW - 10)}
    assert gone.overdue == ("b",)
    assert gone.again_at == NOW - 10 + decide.DELETION_SECONDS
    assert decide.healthy(pods, gone.pods) == 2


@pytest.mark.parametrize(
    ("there", "allowed", "reason"), [(3, 1, "SufficientPods"), (2, 0, "InsufficientPods"), (1, 0, "InsufficientPods")]
)
def test_a_status_allows_what_is_more_than_wanted(there: int, allowed: int, reason: str) -> None:
    before = {"conditions": [{"type": "DisruptionAllowed", "status": "True", "lastTransitionTime": "then"}]}
    status = decide.status(budget(before), Expectation(3, 2), there, {}, "now")
    assert status["disruptionsAllowed"] == allowed
    assert status["observedGeneration"] == 3
    condition = status["conditions"][0]
    assert (condition["reason"], condition["lastTransitionTime"]) == (reason, "then" if allowed else "now")
    assert "disruptedPods" not in status


def test_nothing_expected_allows_nothing() -> None:
    assert decide.status(budget(), Expectation(0, 0), 2, {}, "now")["disruptionsAllowed"] == 0


def test_a_mark_is_stale_only_on_a_pod_that_stays() -> None:
    mark = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": rfc3339(NOW)}
    marked = {"metadata": {"name": "a"}, "status": {"conditions": [mark]}}
    assert decide.stale_since(marked) == NOW
    assert decide.stale_since({**marked, "metadata": {"name": "a", "deletionTimestamp": "x"}}) is None
    assert decide.stale_since({**marked, "status": {"phase": "Failed", "conditions": [mark]}}) is None
    assert decide.stale_since({**marked, "status": {"conditions": [mark | {"status": "False"}]}}) is None
    assert decide.stale_since({**marked, "status": {"conditions": [mark | {"reason": "TerminationByKubelet"}]}}) is None
