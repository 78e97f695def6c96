"""One pass of the Deployment algorithm: ReplicaSets made, sized, numbered, deleted; counters and conditions."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from holdfast.controllers.deployment import objects, scaling
from holdfast.controllers.deployment.decide import CreateSet, DeleteSet, Plan, Seen, UpdateSet, decide
from holdfast.controllers.replicaset.decide import replicas
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

NOW = 1_800_000_000.0
STAMP = rfc3339(NOW - 100)
LABELS = {"app": "d"}


def template(image: str = "one", **metadata: Any) -> Obj:
    return {"metadata": {"labels": LABELS, **metadata}, "spec": {"containers": [{"name": "c", "image": image}]}}


def deployment(wanted: int = 3, image: str = "one", status: Obj | None = None, annotations: Obj | None = None, **spec: Any) -> Obj:
    given: Obj = {
        "replicas": wanted,
        "selector": {"matchLabels": LABELS},
        "template": template(image),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        **spec,
    }
    metadata: Obj = {"name": "d", "namespace": "ns", "uid": "d-uid", "generation": 1}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": given, "status": status or {}}


RECREATE = {"type": "Recreate"}


def replica_set(image: str, size: int, available: int | None = None, revision: int = 1, **more: Any) -> Obj:
    """``more``: desired, most, there, age, condition."""
    there = more.get("there", size)
    count = there if available is None else available
    owner = deployment(image=image)
    made = objects.build(owner)
    sizes = {objects.DESIRED: str(more.get("desired", 3)), objects.MAXIMUM: str(more.get("most", 4))}
    stamp = rfc3339(NOW - more.get("age", 1000 - revision))
    made["metadata"] |= {
        "uid": f"uid-{image}",
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": stamp,
        "annotations": {objects.REVISION: str(revision), **sizes},
    }
    made["spec"]["replicas"] = size
    made["status"] = {"replicas": there, "readyReplicas": count, "availableReplicas": count, "observedGeneration": 1}
    if "condition" in more:
        made["status"]["conditions"] = [more["condition"]]
    return made


def run(owner: Obj, *sets: Obj, busy: set[str] = frozenset(), now: float = NOW) -> Plan:  # type: ignore[assignment]
    before = copy.deepcopy((owner, sets))
    plan = decide(Seen(owner, sets, busy), now)
    assert (owner, sets) == before, "what was observed is not changed"
    return plan


def told(plan: Plan) -> list[str]:
    texts = []
    for intent in plan.intents:
        match intent:
            case CreateSet(made):
                texts.append(f"create {image_of(made)} {replicas(made)}")
            case UpdateSet(before, after):
                texts.append(f"{image_of(after)} {replicas(before)} to {replicas(after)}")
            case DeleteSet(found):
                texts.append(f"delete {image_of(found)}")
    return texts


def image_of(found: Obj) -> str:
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def condition(plan: Plan, kind: str = "Progressing") -> tuple[str, str, str]:
    found = meta.condition({"status": plan.status}, kind) or {}
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def progressing(reason: str, status: str = "True", age: float = 100) -> Obj:
    stamp = rfc3339(NOW - age)
    times = {"lastUpdateTime": stamp, "lastTransitionTime": stamp}
    return {"type": "Progressing", "status": status, **times, "reason": reason, "message": "m"}


# ReplicaSets


def test_a_new_template_gets_a_set_of_its_own_with_all_that_it_takes_over() -> None:
    mine = {"a": "b", objects.REVISION: "7", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    owner = deployment(3, annotations=mine, minReadySeconds=4)
    plan = run(owner)
    (create,) = plan.intents
    assert isinstance(create, CreateSet)
    made = create.made
    digest = made["metadata"]["labels"][objects.HASH]
    assert meta.name(made) == f"d-{digest}"
    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"] == {**LABELS, objects.HASH: digest}
    assert made["spec"]["selector"] == {"matchLabels": {**LABELS, objects.HASH: digest}}
    assert made["metadata"]["ownerReferences"] == [meta.owner_reference(owner)]
    assert made["metadata"]["annotations"] == {"a": "b", objects.REVISION: "1", objects.DESIRED: "3", objects.MAXIMUM: "4"}
    assert (made["spec"]["replicas"], made["spec"]["minReadySeconds"]) == (3, 4)
    assert condition(plan) == ("True", "NewReplicaSetCreated", f'Created new replica set "d-{digest}"')
    assert plan.revision == "1"
    assert plan.status["unavailableReplicas"] == 3
    assert objects.HASH not in owner["spec"]["template"]["metadata"]["labels"]


def test_names_follow_template_and_collisions() -> None:
    names = {meta.name(objects.build(deployment(image=image, status=s))) for image in ("a", "b") for s in _collisions()}
    assert len(names) == 2 * len(_collisions())
    assert len(meta.name(objects.build({**deployment(), "metadata": {"name": "n" * 253, "uid": "u"}}))) == 253
    assert meta.name(objects.build(deployment())) == meta.name(objects.build(deployment(status={"replicas": 3})))


def _collisions() -> list[Obj]:
    return [{}, {"collisionCount": 0}, {"collisionCount": 1}, {"collisionCount": 2}]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (template(), template(creationTimestamp=None), True),
        (template(), template(annotations={}), True),
        (template(), {**template(), "metadata": {"labels": {**LABELS, objects.HASH: "x"}}}, True),
        (template(), template(annotations={"kubectl.kubernetes.io/restartedAt": "now"}), False),
        (template("one"), template("two"), False),
        ({"spec": {"c": {"resources": {"limits": {"cpu": "0.5"}}}}}, {"spec": {"c": {"resources": {"limits": {"cpu": "500m"}}}}}, True),
        ({"spec": {"c": {"resources": {"limits": {"cpu": "0.5"}}}}}, {"spec": {"c": {"resources": {"limits": {"cpu": "5"}}}}}, False),
        ({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}, {"spec": {"volumes": [{"name": "v"}]}}, False),
        ({"spec": {"tolerations": []}}, {"spec": {}}, True),
    ],
)
def test_templates_are_compared_by_what_they_say(one: Obj, other: Obj, same: bool) -> None:
    assert objects.same_template(one, other) is same


def test_a_set_is_the_new_one_by_its_template_whatever_its_name() -> None:
    odd = replica_set("one", 3)
    odd["metadata"]["name"] = "made-by-hand"
    assert run(deployment(3), odd).intents == []


def test_a_rollback_numbers_the_old_set_anew_and_remembers() -> None:
    first, second = replica_set("one", 0, revision=1), replica_set("two", 3, revision=2)
    plan = run(deployment(3, "one"), first, second)
    assert told(plan)[0] == "one 0 to 1"
    after = plan.intents[0].after["metadata"]["annotations"]  # type: ignore[union-attr]
    assert (after[objects.REVISION], after[objects.HISTORY], plan.revision) == ("3", "1", "3")
    again = copy.deepcopy(plan.intents[0].after)  # type: ignore[union-attr]
    again["metadata"]["annotations"][objects.REVISION] = "3"
    later = objects.following(deployment(), again, 5)
    assert later["metadata"]["annotations"][objects.HISTORY] == "1,3"


def test_the_history_of_numbers_has_an_end() -> None:
    found = replica_set("one", 0, revision=5000)
    found["metadata"]["annotations"][objects.HISTORY] = ",".join(map(str, range(1000, 1400)))
    history = objects.following(deployment(), found, 6000)["metadata"]["annotations"][objects.HISTORY]
    assert len(history) <= 2000
    assert history.endswith(",1399,5000")


def test_annotations_and_min_ready_seconds_reach_the_new_set_only() -> None:
    owner = deployment(3, "two", annotations={"kubernetes.io/change-cause": "better"}, minReadySeconds=9)
    plan = run(owner, replica_set("one", 0, revision=1), replica_set("two", 3, revision=2))
    (update,) = plan.intents
    assert isinstance(update, UpdateSet)
    assert update.after["metadata"]["annotations"]["kubernetes.io/change-cause"] == "better"
    assert update.after["spec"]["minReadySeconds"] == 9
    assert update.after["metadata"]["resourceVersion"] == "7"


@pytest.mark.parametrize(
    ("limit", "gone"),
    [(10, []), (2, []), (1, ["delete one"]), (0, ["delete one", "delete two"]), (None, []), (2**31 - 1, [])],
)
def test_history_beyond_its_limit_goes_when_nothing_is_left_of_it(limit: int | None, gone: list[str]) -> None:
    sets = [replica_set("one", 0, revision=1), replica_set("two", 0, revision=2), replica_set("three", 3, revision=3)]
    assert told(run(deployment(3, "three", revisionHistoryLimit=limit), *sets)) == gone
    sets[0]["status"]["replicas"] = 1
    assert "delete one" not in told(run(deployment(3, "three", revisionHistoryLimit=limit), *sets))


# Sizes


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ((3, 3), None, ["create new 1"]),
        ((4, 4), None, ["create new 0"]),
        ((3, 3), (1, 0), ["old 3 to 2"]),
        ((2, 2), (1, 0), ["new 1 to 2"]),
        ((2, 2), (2, 0), []),
        ((2, 2), (2, 1), ["old 2 to 1"]),
        ((2, 2), (2, 2), ["old 2 to 0"]),
        ((1, 1), (2, 2), ["new 2 to 3"]),
        ((3, 0), (1, 0), ["old 3 to 2"]),
        ((3, 1), (1, 1), ["old 3 to 1"]),
        ((0, 0), (3, 3), []),
        ((0, 0), (4, 4), ["new 4 to 3"]),
        ((0, 2), (3, 1), []),
    ],
)
def test_one_step_of_a_rollout_of_three(old: tuple[int, int], new: tuple[int, int] | None, wanted: list[str]) -> None:
    """(size, available); one more and one fewer than three are allowed."""
    sets = [replica_set("old", *old, revision=1)] + ([replica_set("new", *new, revision=2)] if new else [])
    assert told(run(deployment(3, "new"), *sets)) == wanted


@pytest.mark.parametrize(
    ("wanted", "surge", "absence", "bounds"),
    [
        (3, 1, 1, (1, 1)),
        (3, "25%", "25%", (1, 0)),
        (10, "25%", "25%", (3, 2)),
        (10, 0, "1%", (0, 1)),
        (10, "0%", "0%", (0, 1)),
        (2, 0, 5, (0, 2)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_shares_are_rounded_for_availability(wanted: int, surge: Any, absence: Any, bounds: tuple[int, int]) -> None:
    owner = deployment(wanted, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": absence}})
    assert (scaling.max_surge(owner), scaling.max_unavailable(owner)) == bounds


def test_recreate_waits_for_the_end_of_all_old_pods() -> None:
    owner = deployment(3, "new", strategy=RECREATE)
    old = replica_set("old", 3)
    assert told(run(owner, old)) == ["old 3 to 0"]
    assert told(run(owner, replica_set("old", 0, there=2))) == []
    assert told(run(owner, replica_set("old", 0), busy={"uid-old"})) == []
    assert told(run(owner, replica_set("old", 0))) == ["create new 3"]
    assert told(run(owner, replica_set("old", 0), replica_set("new", 0, revision=2))) == ["new 0 to 3"]
    assert told(run(deployment(3, strategy=RECREATE))) == ["create one 3"]


def test_scaling_in_the_middle_of_a_rollout_keeps_the_proportions() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    owner = deployment(15, "new", strategy=strategy)
    sets = replica_set("old", 8, revision=1, desired=10, most=13), replica_set("new", 5, 0, revision=2, desired=10, most=13)
    plan = run(owner, *sets)
    assert sorted(told(plan)) == ["new 5 to 7", "old 8 to 11"]
    marks = [u.after["metadata"]["annotations"] for u in plan.intents if isinstance(u, UpdateSet)]
    assert all((m[objects.DESIRED], m[objects.MAXIMUM]) == ("15", "18") for m in marks)
    assert sorted(told(run(deployment(0, "new", strategy=strategy), *sets))) == ["new 5 to 0", "old 8 to 0"]


def test_a_scaled_deployment_with_one_set_scales_that() -> None:
    assert told(run(deployment(7), replica_set("one", 3))) == ["one 3 to 7"]
    assert told(run(deployment(0), replica_set("one", 3))) == ["one 3 to 0"]
    assert told(run(deployment(2), replica_set("one", 0, desired=0))) == ["one 0 to 2"]
    assert told(run(deployment(5, "new"), replica_set("one", 3))) == ["one 3 to 5"], "first the scale, then the rollout"


def test_a_saturated_new_set_needs_no_old_ones() -> None:
    sets = replica_set("new", 3, revision=2), replica_set("old", 2, desired=5)
    assert told(run(deployment(3, "new"), *sets)) == ["old 2 to 0"]


def test_what_was_scaled_and_scaled_back_is_told_so() -> None:
    plan = run(deployment(3), replica_set("one", 3, desired=5))
    (update,) = plan.intents
    assert isinstance(update, UpdateSet)
    assert update.after["metadata"]["annotations"][objects.DESIRED] == "3"


def test_paused_it_scales_and_rolls_nothing() -> None:
    paused = deployment(5, "new", paused=True, revisionHistoryLimit=0)
    plan = run(paused, replica_set("one", 3), replica_set("zero", 0, revision=0))
    assert told(plan) == ["one 3 to 5", "delete zero"]
    assert condition(plan) == ("Unknown", "DeploymentPaused", "Deployment is paused")
    assert told(run(deployment(3, "new", paused=True), replica_set("one", 3))) == []
    resumed = deployment(3, status={"conditions": [progressing("DeploymentPaused", "Unknown")]})
    plan = run(resumed, replica_set("one", 3, 0, there=0))
    assert condition(plan) == ("Unknown", "DeploymentResumed", "Deployment is resumed")
    assert 600 <= plan.again_after <= 602


def test_one_that_is_being_deleted_only_counts() -> None:
    owner = deployment(5, "new", annotations={"a": "b"})
    owner["metadata"]["deletionTimestamp"] = STAMP
    plan = run(owner, replica_set("one", 3))
    assert plan.intents == []
    assert plan.status["replicas"] == 3


# Status


def test_the_status_counts_all_sets_and_the_new_one() -> None:
    owner = deployment(3, "new", status={"collisionCount": 2})
    sets = [replica_set("old", 2, revision=1), replica_set("new", 2, 1, revision=2)]
    status = run(owner, *sets).status
    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "observedGeneration": 1,
        "replicas": 4,
        "updatedReplicas": 2,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "collisionCount": 2,
    }
    for each in sets:
        each["status"]["terminatingReplicas"] = 1
    assert run(owner, *sets).status["terminatingReplicas"] == 2


DONE = {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}


@pytest.mark.parametrize(
    ("before", "available", "reason", "wanted"),
    [
        ({}, 3, "", ("True", "NewReplicaSetAvailable", "has successfully progressed.")),
        ({}, 1, "ReplicaSetUpdated", ("True", "ReplicaSetUpdated", "is progressing.")),
        ({**DONE, "availableReplicas": 1, "readyReplicas": 1}, 1, "ReplicaSetUpdated", ("False", "ProgressDeadlineExceeded", "m")),
        (DONE, 3, "ProgressDeadlineExceeded", ("True", "NewReplicaSetAvailable", "has successfully progressed.")),
        (DONE, 2, "NewReplicaSetAvailable", ("True", "NewReplicaSetAvailable", "m")),
    ],
)
def test_progress_is_what_has_changed_and_else_a_question_of_time(before: Obj, available: int, reason: str, wanted: Any) -> None:
    conditions = [progressing(reason, age=1000)] if reason else []
    plan = run(deployment(3, status={**before, "conditions": conditions}), replica_set("one", 3, available))
    status, why, text = condition(plan)
    assert (status, why) == wanted[:2]
    assert text.endswith(wanted[2]) or "timed out progressing." in text
    again = run(deployment(3, status=plan.status), replica_set("one", 3, available))
    assert again.status == plan.status, "at rest nothing is written"


def test_progress_counts_from_its_last_sign() -> None:
    still = {**DONE, "availableReplicas": 1, "readyReplicas": 1, "conditions": [progressing("ReplicaSetUpdated", age=100)]}
    plan = run(deployment(3, status=still), replica_set("one", 3, 1))
    assert condition(plan)[:2] == ("True", "ReplicaSetUpdated")
    assert plan.again_after == pytest.approx(501)
    for never in (None, 2**31 - 1):
        free = run(deployment(3, status=still, progressDeadlineSeconds=never), replica_set("one", 3, 1))
        assert condition(free) == ("", "", "")
        assert free.again_after == 0


@pytest.mark.parametrize(("available", "word"), [(3, "True"), (2, "True"), (1, "False")])
def test_available_is_all_but_those_that_may_be_missing(available: int, word: str) -> None:
    plan = run(deployment(3), replica_set("one", 3, available))
    reason, text = ("MinimumReplicasAvailable", "has") if word == "True" else ("MinimumReplicasUnavailable", "does not have")
    assert condition(plan, "Available") == (word, reason, f"Deployment {text} minimum availability.")


def test_a_set_that_cannot_make_pods_is_the_deployments_failure() -> None:
    failed = {"type": "ReplicaFailure", "status": "True", "lastTransitionTime": STAMP, "reason": "FailedCreate", "message": "quota"}
    plan = run(deployment(3), replica_set("one", 3, 0, there=0, condition=failed))
    assert condition(plan, "ReplicaFailure") == ("True", "FailedCreate", "quota")
    assert condition(run(deployment(3, status=plan.status), replica_set("one", 3)), "ReplicaFailure") == ("", "", "")


def test_a_set_found_is_the_beginning_of_what_can_be_estimated() -> None:
    plan = run(deployment(3, paused=True, progressDeadlineSeconds=None), replica_set("one", 3))
    assert condition(plan) == ("", "", "")
    plan = run(deployment(3, status={**DONE, "availableReplicas": 1, "readyReplicas": 1}), replica_set("one", 3, 1))
    assert condition(plan)[1] == "FoundNewReplicaSet"
