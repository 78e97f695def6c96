"""API-76: evictions spend from budgets, whose controller counts what is left; what is refused spends nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.api.spaces import Obj, Space, causes, pod, refusal, stateful_set
from tests.serving import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
BLOCKED = "Cannot evict pod as it would violate the pod's disruption budget."


def eviction(name: str, version: str = "policy/v1", **options: Any) -> Obj:
    body: Obj = {"apiVersion": version, "kind": "Eviction", "metadata": {"name": name}}
    return body | ({"deleteOptions": options} if options else {})


async def guarded(space: Space, names: str = "a b", *, ready: str = "True", **spec: Any) -> None:
    """Running pods, and a budget over them whose counts have come."""
    for name in names.split():
        await space.made(space.at("pods"), {**pod(name, nodeName="n1"), "metadata": {"name": name, "labels": {"app": "x"}}})
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
        assert (await space.api.patch(space.at("pods", name, "status"), {"status": status})).status == 200
    await budget(space, "b", **spec)
    expected = len(names.split())
    await counted(space, lambda status: status["expectedPods"] == expected and status["currentHealthy"] in (0, expected))


async def budget(space: Space, name: str, **spec: Any) -> None:
    body: Obj = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}}
    await space.made(
        space.at("poddisruptionbudgets", group="policy/v1"), body | {"spec": {"selector": {"matchLabels": {"app": "x"}}, **spec}}
    )


async def counted(space: Space, true: Any) -> Obj:
    def seen(answer: Answer) -> bool:
        generation = answer.body["metadata"]["generation"]
        return bool(answer.body["status"].get("observedGeneration") == generation and true(answer.body["status"]))

    found: Obj = (await space.until(space.at("poddisruptionbudgets", "b", group="policy/v1"), seen)).body["status"]
    return found


async def evict(space: Space, name: str, query: str = "", **options: Any) -> Answer:
    return await space.api.post(space.at("pods", name, f"eviction{query}"), eviction(name, **options))


def cause(answer: Answer) -> str:
    assert refusal(answer) == (429, "TooManyRequests", BLOCKED)
    (found,) = answer.body["details"]["causes"]
    assert found["reason"] == "DisruptionBudget"
    text: str = found["message"]
    return text


async def test_api_76_an_eviction_without_a_budget_is_a_graceful_deletion(space: Space) -> None:
    await space.bound_pod()
    answer = await evict(space, "p", gracePeriodSeconds=7)
    assert answer.status == 201
    assert answer.body == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    left = await space.got(space.at("pods", "p"))
    assert left["metadata"]["deletionGracePeriodSeconds"] == 7
    mark = next(one for one in left["status"]["conditions"] if one["type"] == "DisruptionTarget")
    assert (mark["status"], mark["reason"], mark["message"]) == ("True", "EvictionByEvictionAPI", "Eviction API: evicting")


async def test_api_76_a_budget_that_is_spent_refuses_with_its_counts(space: Space) -> None:
    await guarded(space, minAvailable=2)
    text = "The disruption budget b needs 2 healthy pods and has 2 currently"
    assert cause(await evict(space, "a")) == text
    assert cause(await evict(space, "a", dryRun=["All"])) == text
    assert "deletionTimestamp" not in (await space.got(space.at("pods", "a")))["metadata"]


async def test_api_76_two_evictions_at_once_never_spend_the_same(space: Space) -> None:
    await guarded(space, "a b c", minAvailable=2)
    answers = await asyncio.gather(*(evict(space, name) for name in "abc"))
    assert sorted(answer.status for answer in answers) == [201, 429, 429]
    gone = next(name for name, answer in zip("abc", answers, strict=True) if answer.status == 201)
    status = await counted(space, lambda status: status["currentHealthy"] == 2)
    assert (status["disruptionsAllowed"], status["desiredHealthy"]) == (0, 2)
    assert status["conditions"][0]["reason"] == "InsufficientPods"
    assert (await evict(space, gone)).status == 201  # it is going already: that costs nothing


async def test_api_76_what_is_refused_or_only_tried_spends_nothing(space: Space) -> None:
    await guarded(space, minAvailable=1)
    before = await counted(space, lambda status: status["disruptionsAllowed"] == 1)
    refused = await evict(space, "a", preconditions={"uid": "00000000-0000-0000-0000-00000000000f"})
    assert refusal(refused)[:2] == (409, "Conflict")
    assert refusal(await evict(space, "a", preconditions={"resourceVersion": "1"}))[0] == 409
    assert (await evict(space, "a", dryRun=["All"])).status == 201
    assert (await evict(space, "a", "?dryRun=All")).status == 201
    assert refusal(await space.api.post(space.at("pods", "a", "eviction"), eviction("zz")))[2] == (
        "name in URL does not match name in Eviction object"
    )
    assert await counted(space, lambda status: True) == before


async def test_api_76_a_pod_under_two_budgets_cannot_be_evicted(space: Space) -> None:
    await guarded(space, minAvailable=0)
    await budget(space, "c", minAvailable=0)
    answer = await evict(space, "a")
    text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    assert (answer.status, answer.body["message"]) == (500, text)


@pytest.mark.parametrize(("policy", "status"), [("AlwaysAllow", 201), ("IfHealthyBudget", 429), (None, 429)])
async def test_api_76_an_unhealthy_pod_goes_when_its_policy_lets_it(space: Space, policy: str | None, status: int) -> None:
    policies = {"unhealthyPodEvictionPolicy": policy} if policy else {}
    await guarded(space, ready="False", minAvailable=1, **policies)
    assert (await evict(space, "a")).status == status


async def test_api_76_an_unhealthy_pod_goes_while_the_budget_is_met_without_it(space: Space) -> None:
    await guarded(space, "a b", minAvailable=1)
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert (await space.api.patch(space.at("pods", "a", "status"), unready)).status == 200
    await counted(space, lambda status: status["currentHealthy"] == 1)
    assert (await evict(space, "a")).status == 201
    assert cause(await evict(space, "b")) == "The disruption budget b needs 1 healthy pods and has 1 currently"


async def test_api_76_pods_that_have_not_started_are_not_guarded(space: Space) -> None:
    await space.made(space.at("pods"), {**pod("p", nodeName="n1"), "metadata": {"name": "p", "labels": {"app": "x"}}})
    await budget(space, "b", minAvailable=1)
    assert (await evict(space, "p")).status == 201


async def test_api_76_older_clients_evict_in_the_version_they_know(space: Space) -> None:
    await space.bound_pod()
    path = space.at("pods", "p", "eviction")
    assert (await space.api.post(path, eviction("p", "policy/v1beta1"))).status == 201
    assert refusal(await space.api.post(path, eviction("p", "policy/v2")))[0] == 400
    assert refusal(await space.api.get(path))[0] == 405
    assert refusal(await space.api.post(space.at("pods", "none", "eviction"), eviction("none")))[0] == 404


async def test_api_76_the_budgets_of_owned_pods_follow_what_their_owner_wants(space: Space) -> None:
    labels = {"app": "x"}
    spec = {"containers": [{"name": "c", "image": "i"}], "schedulerName": "nobody"}
    more = {"podManagementPolicy": "Parallel", "selector": {"matchLabels": labels}}
    owner = stateful_set("s", replicas=4, template={"metadata": {"labels": labels}, "spec": spec}, **more)
    await space.made(space.apps("statefulsets"), owner)
    await budget(space, "b", maxUnavailable="25%")
    status = await counted(space, lambda status: status["expectedPods"] == 4)
    assert (status["desiredHealthy"], status["currentHealthy"], status["disruptionsAllowed"]) == (3, 0, 0)
    await space.api.patch(space.apps("statefulsets", "s", "scale"), {"spec": {"replicas": 8}})
    assert (await counted(space, lambda status: status["expectedPods"] == 8))["desiredHealthy"] == 6


async def test_api_76_a_budget_over_pods_whose_number_nobody_tells_lets_none_go(space: Space) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
    spec = {"template": template, "managedBy": "example.com/elsewhere"}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec}
    job = await space.made(space.at("jobs", group="batch/v1"), body)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": job["metadata"]["uid"], "controller": True}
    metadata = {"name": "p", "labels": {"app": "x"}, "ownerReferences": [owner]}
    await space.made(space.at("pods"), {**pod("p", nodeName="n1"), "metadata": metadata})
    await budget(space, "b", maxUnavailable=1)
    path = space.at("poddisruptionbudgets", "b", group="policy/v1")
    answer = await space.until(path, lambda answer: bool(answer.body["status"].get("conditions")))
    condition = answer.body["status"]["conditions"][0]
    assert (condition["reason"], condition["message"]) == ("SyncFailed", 'found no controllers for pod "p"')
    assert answer.body["status"]["disruptionsAllowed"] == 0


async def test_api_76_spec_and_status_of_a_budget_are_written_apart(space: Space) -> None:
    await budget(space, "b", minAvailable=1)
    path = space.at("poddisruptionbudgets", "b", group="policy/v1")
    born = await counted(space, lambda status: bool(status.get("conditions")))
    answer = await space.api.patch(path, {"spec": {"minAvailable": 2}, "status": {"currentHealthy": 7}})
    assert (answer.body["metadata"]["generation"], answer.body["status"]) == (2, born)
    await counted(space, lambda status: status["desiredHealthy"] == 2)
    blind = {k: v for k, v in answer.body.items() if k != "metadata"} | {"metadata": {"name": "b"}}
    assert causes(await space.api.put(path, blind)) == [("FieldValueInvalid", "metadata.resourceVersion")]
