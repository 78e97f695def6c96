"""API-53 to API-60: deletion at once and in steps, its preconditions, what waits for it, and many at a time."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from tests.conformance.api.spaces import Obj, Space, causes, pod, refusal, stateful_set
from tests.serving import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOLD = "test.example/hold"
LATER = "2101-01-01T00:00:00Z"


def seconds(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def owner(obj: Obj, **more: Any) -> Obj:
    reference = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}
    return reference | more


async def test_api_53_the_answer_is_a_status_or_the_object(space: Space) -> None:
    maps = space.at("configmaps")
    made = await space.config_map("a")
    answer = await space.api.delete(maps + "/a")
    details = {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert answer.status == 200
    assert answer.body == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    await space.made(space.apps("statefulsets"), stateful_set("s"))
    answer = await space.api.delete(space.apps("statefulsets", "s"))
    assert (answer.body["kind"], answer.body["details"]["group"]) == ("Status", "apps")
    await space.made(space.at("pods"), pod("p", nodeSelector={"x": "none"}))
    answer = await space.api.delete(space.at("pods", "p"))
    assert (answer.status, answer.body["kind"], answer.body["metadata"]["name"]) == (200, "Pod", "p")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    for plural, body in (
        ("podtemplates", {"template": template}),
        ("resourcequotas", {"spec": {"hard": {"pods": "1"}}}),
        ("serviceaccounts", {}),
        ("services", {"spec": {"ports": [{"port": 80}]}}),
    ):
        made = await space.made(space.at(plural), {"metadata": {"name": "x"}, **body})
        answer = await space.api.delete(space.at(plural, "x"))
        assert (answer.status, answer.body["metadata"].get("uid")) == (200, made["metadata"]["uid"]), plural
    await space.config_map("b", finalizers=[HOLD])
    answer = await space.api.delete(maps + "/b")
    assert (answer.status, answer.body["kind"]) == (200, "ConfigMap")
    assert refusal(await space.api.delete(maps + "/a")) == (404, "NotFound", 'configmaps "a" not found')


async def test_api_53_every_deletion_has_a_revision_of_its_own(space: Space) -> None:
    maps = space.at("configmaps")
    made = await space.config_map("a")
    async with space.watching(maps) as events:
        await space.api.delete(maps + "/a")
        async for event in events():
            last = event["object"]["metadata"]["resourceVersion"]
            assert (event["type"], event["object"]["data"]) == ("DELETED", {"k": "1"})
            assert int(last) > int(made["metadata"]["resourceVersion"])
            break


async def test_api_54_a_deletion_may_say_which_object_it_means(space: Space) -> None:
    maps = space.at("configmaps")
    metadata = (await space.config_map("a"))["metadata"]
    other = "00000000-0000-0000-0000-00000000000b"

    async def deleted(**preconditions: str) -> Answer:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        return await space.api.delete(maps + "/a", body)

    lead = 'Operation cannot be fulfilled on ConfigMap "a": the'
    text = f"{lead} UID in the precondition ({other}) does not match the UID in record ({metadata['uid']})."
    text += " The object might have been deleted and then recreated"
    assert refusal(await deleted(uid=other)) == (409, "Conflict", text)
    text = f"{lead} ResourceVersion in the precondition (1) does not match the ResourceVersion in record"
    text += f" ({metadata['resourceVersion']}). The object might have been modified"
    assert refusal(await deleted(resourceVersion="1")) == (409, "Conflict", text)
    assert (await deleted(uid=metadata["uid"], resourceVersion="1")).status == 409
    # What is said but empty is no less a condition.
    assert [(await deleted(uid="")).status, (await deleted(resourceVersion="")).status] == [409, 409]
    assert (await deleted(uid=metadata["uid"], resourceVersion=metadata["resourceVersion"])).status == 200
    # Of two who mean the same revision one is told that it was there.
    metadata = (await space.config_map("a"))["metadata"]
    answers = await asyncio.gather(*(deleted(resourceVersion=metadata["resourceVersion"]) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 404, 404, 404, 404]


async def test_api_55_finalizers_hold_an_object_until_the_last_has_gone(space: Space) -> None:
    maps = space.at("configmaps")
    await space.config_map("a", finalizers=[HOLD, "test.example/two"])
    begun = (await space.api.delete(maps + "/a")).body
    assert begun["metadata"]["deletionTimestamp"]
    assert begun["metadata"]["deletionGracePeriodSeconds"] == 0
    again = (await space.api.delete(maps + "/a")).body
    assert again == begun
    assert (await space.got(maps + "/a")) == begun
    answer = await space.api.post(maps, {"metadata": {"name": "a"}})
    assert refusal(answer) == (409, "AlreadyExists", 'object is being deleted: configmaps "a" already exists')
    assert (await space.api.patch(maps + "/a", {"data": {"k": "2"}})).status == 200
    assert (await space.api.patch(maps + "/a", {"metadata": {"finalizers": [HOLD]}})).body["metadata"]["finalizers"] == [HOLD]
    async with space.watching(maps) as events:
        last = await space.api.patch(maps + "/a", {"metadata": {"finalizers": None}})
        assert (last.status, last.body["data"]) == (200, {"k": "2"})
        async for event in events():
            assert (event["type"], event["object"]["metadata"]["uid"]) == ("DELETED", begun["metadata"]["uid"])
            break
    assert await space.gone(maps + "/a")
    assert (await space.config_map("a"))["metadata"]["uid"] != begun["metadata"]["uid"]


async def test_api_55_a_finalizer_that_comes_first_is_seen(space: Space) -> None:
    maps = space.at("configmaps")
    for n in range(8):
        name = f"a{n}"
        await space.config_map(name)
        added, deleted = await asyncio.gather(
            space.api.patch(f"{maps}/{name}", {"metadata": {"finalizers": [HOLD]}}), space.api.delete(f"{maps}/{name}")
        )
        if added.status == 200:  # then the deletion waits, whichever came to the store first
            assert deleted.body["metadata"]["deletionTimestamp"]
            assert (await space.got(f"{maps}/{name}"))["metadata"]["finalizers"] == [HOLD]
        else:
            assert (added.status, deleted.body["status"]) == (404, "Success")


async def test_api_56_who_is_going_gets_no_new_finalizer(space: Space) -> None:
    maps = space.at("configmaps")
    await space.config_map("a", finalizers=[HOLD])
    await space.api.delete(maps + "/a")
    answer = await space.api.patch(maps + "/a", {"metadata": {"finalizers": [HOLD, "test.example/new"]}})
    status, reason, text = refusal(answer)
    assert (status, reason) == (422, "Invalid")
    why = 'no new finalizers can be added if the object is being deleted, found new finalizers []string{"test.example/new"}'
    assert text == f'ConfigMap "a" is invalid: metadata.finalizers: Forbidden: {why}'
    assert set(causes(answer)) == {("FieldValueForbidden", "metadata.finalizers")}


async def test_api_57_a_pod_has_time_to_stop(space: Space) -> None:
    path = space.at("pods", "p")
    await space.bound_pod("p")
    first = (await space.api.delete(path)).body["metadata"]
    assert first["deletionGracePeriodSeconds"] == 30
    assert seconds(first["creationTimestamp"], first["deletionTimestamp"]) in (30, 31)
    longer = (await space.api.delete(path + "?gracePeriodSeconds=60")).body["metadata"]
    assert longer["deletionGracePeriodSeconds"] == 30
    shorter = (await space.api.delete(path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 5})).body["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5
    assert seconds(shorter["deletionTimestamp"], first["deletionTimestamp"]) == 25
    assert (await space.api.delete(path)).body["metadata"] == shorter
    assert (await space.api.delete(path + "?gracePeriodSeconds=-1")).body["metadata"]["deletionGracePeriodSeconds"] == 1
    assert (await space.api.delete(path + "?gracePeriodSeconds=0")).status == 200
    assert await space.gone(path)


async def test_api_57_how_long_is_the_pods_own_affair_unless_asked(space: Space) -> None:
    await space.bound_pod("own", terminationGracePeriodSeconds=7)
    assert (await space.api.delete(space.at("pods", "own"))).body["metadata"]["deletionGracePeriodSeconds"] == 7
    await space.bound_pod("asked", terminationGracePeriodSeconds=7)
    answer = await space.api.delete(space.at("pods", "asked") + "?gracePeriodSeconds=12")
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 12
    await space.bound_pod("negative")
    answer = await space.api.delete(space.at("pods", "negative") + "?gracePeriodSeconds=-5")
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 1
    answer = await space.api.delete(space.at("pods", "own") + "?gracePeriodSeconds=abc")
    assert refusal(answer)[:2] == (400, "BadRequest")


async def test_api_53_options_that_are_none_delete_nothing(space: Space) -> None:
    path = space.at("configmaps", "a")
    await space.config_map("a")
    json = "json: cannot unmarshal"
    for options, text in (
        ({"gracePeriodSeconds": "x"}, f"{json} string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"),
        ({"orphanDependents": "x"}, f"{json} string into Go struct field DeleteOptions.orphanDependents of type bool"),
        ({"preconditions": []}, f"{json} array into Go struct field DeleteOptions.preconditions of type v1.Preconditions"),
        ({"dryRun": "All"}, f"{json} string into Go struct field DeleteOptions.dryRun of type []string"),
    ):
        assert refusal(await space.api.delete(path, options)) == (400, "BadRequest", text)
    for digits, why in (("1_0", "invalid syntax"), ("1.5", "invalid syntax"), ("9" * 30, "value out of range")):
        answer = await space.api.delete(f"{path}?gracePeriodSeconds={digits}")
        assert refusal(answer) == (400, "BadRequest", f'strconv.ParseInt: parsing "{digits}": {why}')
    assert (await space.got(path))["data"] == {"k": "1"}


async def test_api_57_nobody_waits_for_a_pod_that_nothing_runs(space: Space) -> None:
    await space.made(space.at("pods"), pod("unscheduled", nodeSelector={"x": "none"}))
    await space.bound_pod("finished")
    for phase in ("Succeeded",):
        assert (await space.api.patch(space.at("pods", "finished", "status"), {"status": {"phase": phase}})).status == 200
    for name in ("unscheduled", "finished"):
        answer = await space.api.delete(space.at("pods", name))
        assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 0
        assert await space.gone(space.at("pods", name))


async def test_api_58_propagation_is_one_of_three(space: Space) -> None:
    maps = space.at("configmaps")
    await space.config_map("a")
    lead = 'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy:'
    answer = await space.api.delete(maps + "/a?propagationPolicy=Never")
    text = f'{lead} Unsupported value: "Never": supported values: "Foreground", "Background", "Orphan", "nil"'
    assert refusal(answer) == (422, "Invalid", text)
    both = {"kind": "DeleteOptions", "apiVersion": "v1", "orphanDependents": True, "propagationPolicy": "Background"}
    text = f'{lead} Invalid value: "Background": orphanDependents and deletionPropagation cannot be both set'
    assert refusal(await space.api.delete(maps + "/a", both)) == (422, "Invalid", text)
    assert (await space.got(maps + "/a"))["data"] == {"k": "1"}


async def test_api_58_dependents_go_stay_or_go_first(space: Space) -> None:
    maps = space.at("configmaps")
    for policy in ("Background", "Orphan", "Foreground"):
        low = policy.lower()
        made = await space.config_map(f"own-{low}")
        blocking = owner(made, blockOwnerDeletion=True)
        await space.config_map(f"dep-{low}", ownerReferences=[blocking], finalizers=[HOLD] if policy == "Foreground" else [])
        answer = await space.api.delete(f"{maps}/own-{low}?propagationPolicy={policy}")
        assert answer.status == 200
        if policy == "Background":
            assert answer.body["status"] == "Success"
            assert await space.gone(f"{maps}/own-{low}")
        else:
            name = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}[policy]
            assert answer.body["metadata"]["finalizers"] == [name]
    await space.until(f"{maps}/dep-background", lambda answer: answer.status == 404)
    await space.until(f"{maps}/own-orphan", lambda answer: answer.status == 404)
    assert "ownerReferences" not in (await space.got(f"{maps}/dep-orphan"))["metadata"]
    await space.until(f"{maps}/dep-foreground", lambda answer: "deletionTimestamp" in answer.body["metadata"])
    assert (await space.got(f"{maps}/own-foreground"))["metadata"]["finalizers"] == ["foregroundDeletion"]
    await space.api.patch(f"{maps}/dep-foreground", {"metadata": {"finalizers": None}})
    await space.until(f"{maps}/own-foreground", lambda answer: answer.status == 404)


async def test_api_58_a_deletion_that_runs_may_still_be_told_otherwise(space: Space) -> None:
    path = space.at("configmaps", "a")
    blocking = owner(await space.config_map("a", finalizers=[HOLD]), blockOwnerDeletion=True)
    await space.config_map("b", ownerReferences=[blocking], finalizers=[HOLD])
    for query, finalizers in (
        ("?propagationPolicy=Foreground", [HOLD, "foregroundDeletion"]),
        ("", [HOLD, "foregroundDeletion"]),
        ("?propagationPolicy=Background", [HOLD]),
    ):
        assert (await space.api.delete(path + query)).body["metadata"]["finalizers"] == finalizers
    # While a grace period runs that is not shortened, nothing is changed.
    await space.bound_pod("p")
    await space.api.delete(space.at("pods", "p"))
    assert "finalizers" not in (await space.api.delete(space.at("pods", "p") + "?propagationPolicy=Foreground")).body["metadata"]


async def test_api_58_who_asks_for_a_cascade_in_the_old_way_hears_that_it_goes_on(space: Space) -> None:
    path = space.at("configmaps", "a")
    await space.config_map("a", finalizers=[HOLD])
    assert (await space.api.delete(path + "?orphanDependents=false")).status == 202
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "orphanDependents": False}
    assert (await space.api.delete(path, body)).status == 202
    assert (await space.api.delete(path)).status == 200
    await space.api.patch(path, {"metadata": {"finalizers": None}})
    await space.config_map("a")
    assert (await space.api.delete(path, body)).status == 200


async def test_api_58_jobs_leave_their_pods_unless_told_otherwise(space: Space) -> None:
    """So does a ReplicationController; nothing depends on an Event, whatever is said."""
    jobs, template = (
        space.at("jobs", group="batch/v1"),
        {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
    )
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "finalizers": [HOLD]}, "spec": {"template": template}}
    why = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them"
    why = f'299 - "{why} or set propagationPolicy=Orphan to suppress this warning"'
    for query, finalizers, warnings in (
        ("", [HOLD, "orphan"], [why]),
        ("?propagationPolicy=Orphan", [HOLD, "orphan"], []),
        ("?propagationPolicy=Background", [HOLD], []),
        ("?orphanDependents=false", [HOLD], []),
    ):
        await space.made(jobs, job)
        answer = await space.api.delete(f"{jobs}/j{query}")
        assert (answer.body["metadata"]["finalizers"], answer.warnings) == (finalizers, warnings), query
        await space.api.patch(f"{jobs}/j", {"metadata": {"finalizers": None}})
        await space.until(f"{jobs}/j", lambda found: found.status == 404)
    assert (await space.api.delete(jobs)).warnings == [why]
    controllers = space.at("replicationcontrollers")
    spec = {
        "selector": {"a": "b"},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }
    await space.made(controllers, {"metadata": {"name": "r", "finalizers": [HOLD]}, "spec": spec})
    answer = await space.api.delete(controllers + "/r")
    assert (answer.body["metadata"]["finalizers"], answer.warnings) == ([HOLD, "orphan"], [])
    about = {"kind": "Pod", "namespace": space.name, "name": "p"}
    await space.made(space.at("events"), {"metadata": {"name": "e"}, "involvedObject": about, "reason": "R", "type": "Normal"})
    assert (await space.api.delete(space.at("events", "e") + "?propagationPolicy=Orphan")).body["kind"] == "Status"


async def test_api_59_a_collection_is_deleted_as_it_is_selected(space: Space) -> None:
    maps = space.at("configmaps")
    for name, value in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")):
        await space.config_map(name, labels={"l": value}, finalizers=[HOLD] if name == "b" else [])
    answer = await space.api.delete(maps + "?labelSelector=l%3Dx&fieldSelector=metadata.name!%3Dd")
    assert (answer.status, answer.body["kind"]) == (200, "ConfigMapList")
    assert [item["metadata"]["name"] for item in answer.body["items"]] == ["a", "b"]
    assert await space.gone(maps + "/a")
    assert "deletionTimestamp" in (await space.got(maps + "/b"))["metadata"]
    for name in "cd":
        assert "deletionTimestamp" not in (await space.got(f"{maps}/{name}"))["metadata"]
    assert (await space.api.delete(maps + "?labelSelector=l%3Dnone")).body["items"] == []
    for wrong in ("labelSelector=a%3D%3D%3D", "fieldSelector=data.k%3D1"):
        assert refusal(await space.api.delete(f"{maps}?{wrong}"))[:2] == (400, "BadRequest")
    assert (await space.api.delete(maps + "?propagationPolicy=Never")).status == 422
    assert (await space.got(maps + "/c"))["data"] == {"k": "1"}
    assert refusal(await space.api.delete("/api/v1/namespaces"))[:2] == (405, "MethodNotAllowed")


async def test_api_59_each_item_has_its_own_rules(space: Space) -> None:
    pods = space.at("pods")
    await space.bound_pod("bound")
    await space.made(pods, pod("unscheduled", nodeSelector={"x": "none"}))
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 9}
    assert (await space.api.delete(pods, options)).status == 200
    assert await space.gone(pods + "/unscheduled")
    assert (await space.got(pods + "/bound"))["metadata"]["deletionGracePeriodSeconds"] == 9


async def test_api_60_a_deletion_is_not_taken_back(space: Space) -> None:
    maps = space.at("configmaps")
    await space.config_map("a", finalizers=[HOLD])
    begun = (await space.api.delete(maps + "/a")).body["metadata"]
    marks = {name: begun[name] for name in ("deletionTimestamp", "deletionGracePeriodSeconds")}
    for number, change in enumerate((dict.fromkeys(marks), {"deletionTimestamp": LATER})):
        answer = await space.api.patch(maps + "/a", {"metadata": change, "data": {"k": f"new {number}"}})
        assert answer.status == 200, answer.raw
        assert marks.items() <= answer.body["metadata"].items()
    found = await space.got(maps + "/a")
    for mark in marks:
        del found["metadata"][mark]
    answer = await space.api.put(maps + "/a", found | {"data": {"k": "put"}})
    assert marks.items() <= answer.body["metadata"].items()
    answer = await space.api.patch(maps + "/a", {"metadata": {"deletionGracePeriodSeconds": 90}})
    text = "metadata.deletionGracePeriodSeconds: Invalid value: 90: field is immutable"
    assert refusal(answer) == (422, "Invalid", f'ConfigMap "a" is invalid: {text}')


async def test_api_60_nor_begun_by_an_update(space: Space) -> None:
    maps = space.at("configmaps")
    made = await space.config_map("a")
    text = f'ConfigMap "a" is invalid: metadata.deletionTimestamp: Invalid value: "{LATER}": field is immutable'
    for answer in (
        await space.api.put(maps + "/a", made | {"metadata": made["metadata"] | {"deletionTimestamp": LATER}}),
        await space.api.patch(maps + "/a", {"metadata": {"deletionTimestamp": LATER}}),
    ):
        assert refusal(answer) == (422, "Invalid", text)
    assert (await space.got(maps + "/a")) == made
