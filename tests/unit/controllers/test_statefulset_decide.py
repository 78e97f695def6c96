"""One step of the StatefulSet algorithm: what is created, deleted, repaired or waited for, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.controllers.statefulset import objects
from holdfast.controllers.statefulset.decide import CreateClaims, CreateMember, DeleteMember, OwnClaim, Plan, RepairMember, Seen, decide
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta

STAMP = "2026-01-01T00:00:00Z"
NOW = parse_rfc3339(STAMP) + 1000
LABELS = {"app": "db"}


def template(image: str) -> Obj:
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": image}]}}


TEMPLATES = {"old": template("old"), "new": template("new")}


def make_set(replicas: int = 3, claims: bool = False, status: Obj | None = None, **spec: Any) -> Obj:
    full: Obj = {
        "replicas": replicas,
        "serviceName": "s",
        "selector": {"matchLabels": LABELS},
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "template": TEMPLATES["new"],
        **spec,
    }
    if claims:
        full["volumeClaimTemplates"] = [{"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    metadata = {"name": "web", "namespace": "ns", "uid": "set-uid", "generation": 1}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": full, "status": status or {}}


def member(owner: Obj, number: int, state: str = "ready", revision: str = "new", *, terminating: bool = False) -> Obj:
    """``state``: ready, unready, Pending, Failed or Succeeded."""
    pod = objects.build_pod(owner, TEMPLATES[revision], revision, number)
    pod["metadata"]["uid"] = f"uid-{number}"
    if terminating:
        pod["metadata"]["deletionTimestamp"] = STAMP
    ready = [{"type": "Ready", "status": "True" if state == "ready" else "False", "lastTransitionTime": STAMP}]
    return {**pod, "status": {"phase": "Running" if state in ("ready", "unready") else state, "conditions": ready}}


def claim(owner: Obj, number: int, owners: list[Obj] | None = None, *, terminating: bool = False) -> Obj:
    (made,) = objects.build_claims(owner, number)
    made["metadata"].update({"uid": f"claim-{number}", "resourceVersion": "1"})
    if owners:
        made["metadata"]["ownerReferences"] = owners
    if terminating:
        made["metadata"]["deletionTimestamp"] = STAMP
    return made


def run(owner: Obj, pods: list[Obj], claims: list[Obj] | None = None, current: str = "new", now: float = NOW) -> Plan:
    found = {meta.name(c): c for c in claims or []}
    return decide(Seen(owner, pods, found, current, "new", TEMPLATES), now)


def told(plan: Plan) -> list[str]:
    """The intents in short."""
    texts = []
    for intent in plan.intents:
        match intent:
            case CreateMember(pod, _):
                texts.append(f"create {meta.name(pod)} {objects.revision_of(pod)}")
            case DeleteMember(pod, _):
                texts.append(f"delete {meta.name(pod)}")
            case CreateClaims(_, claims):
                texts += [f"claim {meta.name(c)}" for c in claims]
            case RepairMember(pod, _):
                texts.append(f"repair {meta.name(pod)}")
            case OwnClaim(found, owners):
                texts.append(f"own {meta.name(found)} by {','.join(o['kind'] for o in owners) or 'nobody'}")
    return texts


def members(owner: Obj, text: str) -> list[Obj]:
    """Pods from words such as ``0 1:unready 2:old 3:old:Pending 4:gone``."""
    made = []
    for word in text.split():
        number, *marks = word.split(":")
        (state,) = [m for m in marks if m not in ("old", "gone")] or ["ready"]
        revision = "old" if "old" in marks else "new"
        made.append(member(owner, int(number), state, revision, terminating="gone" in marks))
    return made


@pytest.mark.parametrize(
    ("pods", "wanted"),
    [
        ("", ["create web-0 new"]),
        ("0", ["create web-1 new"]),
        ("0:unready", []),
        ("0:Pending", []),
        ("0:gone", []),
        ("0 2", ["create web-1 new"]),
        ("0:unready 2", []),
        ("0 1 2", []),
        ("0:Failed", ["delete web-0"]),
        ("0 1:Succeeded 2", ["delete web-1"]),
        ("0:Failed:gone", []),
        ("0:unready 1:Failed", []),
        ("0 1 2 3", ["delete web-3"]),
        ("0 1 2 3 4", ["delete web-4"]),
        ("0 1 2 3 4:gone", []),
        ("0 1 2 3:unready 4", ["delete web-4"]),
        ("0 1 2 3:unready 4:unready", []),
        ("0 1 2 3 4:unready", ["delete web-4"]),
        ("0:unready 1 2 3", []),
        ("0 1 2:gone 3", []),
        ("1 2 3", ["create web-0 new"]),
    ],
)
def test_ordered_one_at_a_time(pods: str, wanted: list[str]) -> None:
    owner = make_set()
    plan = run(owner, members(owner, pods))
    assert told(plan) == wanted
    settled = pods == "0 1 2"
    assert bool(plan.waits) is not settled, "what it waits for is said"


@pytest.mark.parametrize(
    ("pods", "wanted"),
    [
        ("", ["create web-0 new", "create web-1 new", "create web-2 new"]),
        ("0:unready", ["create web-1 new", "create web-2 new"]),
        ("0:Failed 1:gone 2", ["delete web-0"]),
        ("0:unready 1 2 3 4:unready 5:gone", ["delete web-4", "delete web-3"]),
        ("0 1 2 3:Failed", ["delete web-3"]),
    ],
)
def test_parallel_waits_for_nobody(pods: str, wanted: list[str]) -> None:
    owner = make_set(podManagementPolicy="Parallel")
    assert told(run(owner, members(owner, pods))) == wanted


@pytest.mark.parametrize(
    ("pods", "partition", "wanted"),
    [
        ("0:old 1:old 2:old", 0, ["delete web-2"]),
        ("0:old 1:old 2", 0, ["delete web-1"]),
        ("0:old 1 2", 0, ["delete web-0"]),
        ("0:old 1:old 2", 2, []),
        ("0:old 1:old 2:old", 2, ["delete web-2"]),
        ("0:old 1:old 2:old", 9, []),
        ("0:old 1:old 2:old:gone", 0, []),
        ("0:old 1:old 2:unready", 0, []),
        ("0:old 1:old", 0, ["create web-2 new"]),
        ("0:old 1:old", 3, ["create web-2 old"]),
        ("1:old 2", 2, ["create web-0 old"]),
        ("0:old 1:old 2:old 3:old", 0, ["delete web-3"]),
    ],
)
def test_a_rolling_update_goes_down_to_the_partition(pods: str, partition: int, wanted: list[str]) -> None:
    owner = make_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": partition}})
    assert told(run(owner, members(owner, pods), current="old")) == wanted


@pytest.mark.parametrize(
    ("policy", "most", "pods", "partition", "wanted"),
    [
        ("OrderedReady", 2, "0:old 1:old 2:old 3:old", 0, ["delete web-3", "delete web-2"]),
        ("OrderedReady", 2, "0:old 1:old 2:old 3:unready", 0, []),
        ("Parallel", 2, "0:old 1:old 2:old 3:unready", 0, ["delete web-2"]),
        ("Parallel", 1, "0:old 1:old 2:old 3:unready", 0, []),
        ("Parallel", 2, "0:old 1:old 2:old 3:old:gone", 0, ["delete web-2"]),
        ("Parallel", 2, "0:old 1:old 2:old 3:old", 3, ["delete web-3"]),
        ("Parallel", "50%", "0:old 1:old 2:old 3:old", 0, ["delete web-3", "delete web-2"]),
        ("Parallel", "49%", "0:old 1:old 2:old 3:old", 0, ["delete web-3"]),
        ("Parallel", "1%", "0:old 1:old 2:old 3:old", 0, ["delete web-3"]),
        ("Parallel", 9, "0:old 1 2:old 3", 0, ["delete web-2", "delete web-0"]),
        ("Parallel", 1, "0:old:unready 1:old:unready 2:old 3:old", 0, ["delete web-1", "delete web-0"]),
        ("Parallel", 1, "0:old:Failed 1:old 2:old 3:old", 0, ["delete web-0"]),
        ("Parallel", 2, "0 1 2 3", 0, []),
    ],
)
def test_several_may_be_unavailable(policy: str, most: int | str, pods: str, partition: int, wanted: list[str]) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition, "maxUnavailable": most}}
    owner = make_set(4, podManagementPolicy=policy, updateStrategy=strategy)
    assert told(run(owner, members(owner, pods), current="old")) == wanted


def test_r39_an_ordered_update_never_gets_past_a_member_that_is_not_ready() -> None:
    """Upstream's trap (kubernetes#67250), kept: the broken one stays until it is deleted by hand."""
    owner = make_set()
    plan = run(owner, members(owner, "0:old 1:old 2:old:unready"), current="old")
    assert told(plan) == []
    (wait,) = plan.waits
    assert (wait.subject, wait.reason, wait.message) == ("pod/web-2", "NotReady", "web-2 is not Ready")
    assert wait.since == STAMP
    assert "holdfast why pod/web-2 -n ns" in wait.remedy


def test_a_parallel_update_replaces_a_broken_old_member() -> None:
    owner = make_set(podManagementPolicy="Parallel")
    assert told(run(owner, members(owner, "0:old 1:old 2:old:unready"), current="old")) == ["delete web-2"]


def test_a_failed_old_member_is_deleted_once() -> None:
    owner = make_set(podManagementPolicy="Parallel")
    assert told(run(owner, members(owner, "0:old 1:old 2:old:Failed"), current="old")) == ["delete web-2"]


@pytest.mark.parametrize("partition", [0, 1, 2, 3])
def test_the_partition_counts_from_the_first_ordinal(partition: int) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    owner = make_set(2, ordinals={"start": 5}, updateStrategy=strategy)
    wanted = ["delete web-6"] if partition < 2 else []
    assert told(run(owner, members(owner, "5:old 6:old"), current="old")) == wanted
    first = "new" if partition == 0 else "old"
    assert told(run(owner, [], current="old")) == [f"create web-5 {first}"]


def test_a_moved_start_creates_before_it_deletes() -> None:
    owner = make_set(2, ordinals={"start": 1})
    assert told(run(owner, members(owner, "0 1"))) == ["create web-2 new"]
    assert told(run(owner, members(owner, "0 1 2"))) == ["delete web-0"]


def test_on_delete_replaces_only_what_someone_deleted() -> None:
    owner = make_set(updateStrategy={"type": "OnDelete"})
    assert told(run(owner, members(owner, "0:old 1:old 2:old"), current="old")) == []
    assert told(run(owner, members(owner, "0:old 2:old"), current="old")) == ["create web-1 new"]


RECREATE = {"type": "Recreate"}


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
@pytest.mark.parametrize(
    ("pods", "wanted"),
    [
        ("0:old 1:old 2:old", ["delete web-0", "delete web-1", "delete web-2"]),
        ("0:old:unready 1:old:Failed 2:old:Pending", ["delete web-0", "delete web-1", "delete web-2"]),
        ("0:old 1:old 2:old 3:old 7:old", ["delete web-0", "delete web-1", "delete web-2", "delete web-7", "delete web-3"]),
        ("0:old:gone 1:old 2", ["delete web-1"]),
        ("0:old:gone 1 2", []),
        ("2:old:gone", []),
        ("5:old:gone", []),
        ("0 1:Failed 2:old:gone 4", []),
        ("0 1 2", []),
    ],
)
def test_e5_recreate_clears_all_that_is_old_before_anything_else(policy: str, pods: str, wanted: list[str]) -> None:
    owner = make_set(podManagementPolicy=policy, updateStrategy=RECREATE)
    plan = run(owner, members(owner, pods), current="old")
    assert told(plan) == wanted
    assert (plan.recreating, plan.alone) == (bool(wanted), False)
    assert bool(plan.waits) == (pods != "0 1 2")


def test_e5_recreate_creates_by_the_management_policy_with_nothing_old_beside() -> None:
    ordered, parallel = (make_set(podManagementPolicy=p, updateStrategy=RECREATE) for p in ("OrderedReady", "Parallel"))
    assert told(run(ordered, [], current="old")) == ["create web-0 new"]
    assert told(run(ordered, members(ordered, "0:unready"), current="old")) == []
    assert told(run(ordered, members(ordered, "0"), current="old")) == ["create web-1 new"]
    plan = run(parallel, [], current="old")
    assert told(plan) == ["create web-0 new", "create web-1 new", "create web-2 new"]
    assert plan.alone


def test_e5_claims_are_settled_before_recreate_deletes_their_pods() -> None:
    """A claim still given to a member that was once too many would go with it; one that is too many takes its claim along."""
    owner = make_set(1, claims=True, updateStrategy=RECREATE, persistentVolumeClaimRetentionPolicy=policy("Delete", "Retain"))
    before = [{**POD, "name": "web-0", "uid": "uid-0"}]
    plan = run(owner, members(owner, "0:old 1:old"), [claim(owner, 0, before), claim(owner, 1)], current="old")
    assert told(plan) == ["own www-web-0 by nobody", "delete web-0", "own www-web-1 by Pod", "delete web-1"]


def test_e5_without_recreate_nothing_is_cleared() -> None:
    owner = make_set()
    assert not run(owner, members(owner, "0:old 1:old 2:old"), current="old").recreating


def test_without_rolling_settings_a_vanished_member_is_not_made_old_again() -> None:
    """The stored status may still count it (its deletion was never seen pending)."""
    owner = make_set(updateStrategy={"type": "RollingUpdate"}, status={"currentReplicas": 3})
    assert told(run(owner, members(owner, "0:old 1:old"), current="old")) == ["create web-2 new"]
    assert told(run(owner, members(owner, "1:old 2"), current="old")) == ["create web-0 old"]


def test_minimum_ready_seconds_hold_back_the_next_member_and_say_when_to_look() -> None:
    owner = make_set(minReadySeconds=30)
    early = parse_rfc3339(STAMP) + 10
    plan = run(owner, members(owner, "0"), now=early)
    assert told(plan) == []
    assert 20 <= plan.again_after <= 21
    late = run(owner, members(owner, "0"), now=early + 20)
    assert told(late) == ["create web-1 new"]
    assert late.again_after == 0


@pytest.mark.parametrize("pods", ["0:unready 1 2", "0 1 2 3:unready 4"])
def test_availability_behind_one_that_blocks_is_looked_at_too(pods: str) -> None:
    """The status counts it, and scaling down depends on it; no event tells of it."""
    owner = make_set(minReadySeconds=30)
    plan = run(owner, members(owner, pods), now=parse_rfc3339(STAMP) + 10)
    assert 20 <= plan.again_after <= 21


def test_a_set_that_is_being_deleted_is_only_counted() -> None:
    owner = make_set()
    owner["metadata"]["deletionTimestamp"] = STAMP
    plan = run(owner, members(owner, "0 1:Failed 4"))
    assert plan.intents == []
    assert plan.status["replicas"] == 3


def test_identity_is_restored() -> None:
    owner = make_set(1)
    pod = member(owner, 0)
    del pod["metadata"]["labels"][objects.POD_NAME]
    assert told(run(owner, [pod])) == ["repair web-0"]


def test_pods_without_an_ordinal_are_let_be() -> None:
    owner = make_set(1)
    odd = {**member(owner, 0), "metadata": {"name": "web-99999999999", "namespace": "ns"}}
    assert told(run(owner, [member(owner, 0), odd])) == []


# Claims


def test_claims_that_are_missing_come_with_the_member() -> None:
    owner = make_set(1, claims=True)
    (intent,) = run(owner, []).intents
    assert isinstance(intent, CreateMember)
    assert [meta.name(c) for c in intent.claims] == ["www-web-0"]
    (again,) = run(owner, [], [claim(owner, 0)]).intents
    assert isinstance(again, CreateMember)
    assert again.claims == [], "the claim that is there is used again"


@pytest.mark.parametrize(("state", "wanted"), [("Pending", ["claim www-web-0"]), ("unready", []), ("ready", [])])
def test_a_pending_member_gets_its_lost_claim_back(state: str, wanted: list[str]) -> None:
    owner = make_set(1, claims=True)
    assert told(run(owner, [member(owner, 0, state)])) == wanted


def test_no_member_is_created_on_a_claim_that_is_being_deleted() -> None:
    owner = make_set(1, claims=True)
    plan = run(owner, [], [claim(owner, 0, terminating=True)])
    assert told(plan) == []
    assert [(w.subject, w.reason) for w in plan.waits] == [("pvc/www-web-0", "ClaimTerminating")]


def policy(scaled: str, deleted: str) -> Obj:
    return {"whenScaled": scaled, "whenDeleted": deleted}


POD = {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "uid": "uid-1", "controller": True, "blockOwnerDeletion": False}
SET = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set-uid", "controller": True, "blockOwnerDeletion": False}


@pytest.mark.parametrize(
    ("scaled", "deleted", "inside", "outside"),
    [
        ("Retain", "Retain", None, None),
        ("Retain", "Delete", SET, SET),
        ("Delete", "Retain", None, POD),
        ("Delete", "Delete", SET, POD),
    ],
)
def test_claims_are_owned_as_the_retention_policy_says(scaled: str, deleted: str, inside: Obj | None, outside: Obj | None) -> None:
    for replicas, expected in ((2, inside), (1, outside)):
        owner = make_set(replicas, claims=True, persistentVolumeClaimRetentionPolicy=policy(scaled, deleted))
        pods = members(owner, "0 1")
        zero = [SET] if deleted == "Delete" else None
        for before in (None, [POD], [SET]):
            plan = run(owner, pods, [claim(owner, 0, zero), claim(owner, 1, before)])
            wanted = [expected] if expected else []
            changes = [i for i in plan.intents if isinstance(i, OwnClaim)]
            assert [i.owners for i in changes] == ([wanted] if wanted != (before or []) else [])
            if replicas == 1:
                assert told(plan)[-1] == "delete web-1", "owned before it is deleted"


def test_a_new_claim_is_owned_from_the_start() -> None:
    owner = make_set(1, claims=True, persistentVolumeClaimRetentionPolicy=policy("Retain", "Delete"))
    (intent,) = run(owner, []).intents
    assert isinstance(intent, CreateMember)
    assert [c["metadata"]["ownerReferences"] for c in intent.claims] == [[SET]]


def test_a_claim_another_controller_holds_is_left_alone() -> None:
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x", "controller": True}
    owner = make_set(1, claims=True, persistentVolumeClaimRetentionPolicy=policy("Delete", "Delete"))
    assert told(run(owner, members(owner, "0"), [claim(owner, 0, [foreign])])) == []


def test_owners_that_are_not_ours_stay() -> None:
    friend = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}
    owner = make_set(1, claims=True, persistentVolumeClaimRetentionPolicy=policy("Retain", "Delete"))
    (intent,) = run(owner, members(owner, "0"), [claim(owner, 0, [friend])]).intents
    assert isinstance(intent, OwnClaim)
    assert intent.owners == [friend, SET]


@pytest.mark.parametrize("scaled", ["Delete", "Retain"])
def test_scaling_up_again_waits_for_the_claim_of_the_former_member_to_go(scaled: str) -> None:
    """Its owner is gone, so it is collected, even when the policy was changed since."""
    former = {**POD, "uid": "the-one-before"}
    owner = make_set(2, claims=True, persistentVolumeClaimRetentionPolicy=policy(scaled, "Retain"))
    plan = run(owner, members(owner, "0"), [claim(owner, 0), claim(owner, 1, [former])])
    assert told(plan) == []
    assert plan.waits[0].subject == "pvc/www-web-1"
    assert plan.again_after > 0
    assert told(run(owner, members(owner, "0"), [claim(owner, 0)])) == ["create web-1 new"]
