"""API-46 to API-52: replacing an object, and what an update may not touch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.api.spaces import Obj, Space, causes, pod, refusal, stateful_set

pytestmark = pytest.mark.asyncio(loop_scope="module")
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


async def test_api_46_an_update_of_what_was_is_a_conflict(space: Space) -> None:
    maps = space.at("configmaps")
    old = await space.config_map("a")
    new = await space.api.put(maps + "/a", old | {"data": {"k": "2"}})
    assert new.status == 200
    answer = await space.api.put(maps + "/a", old | {"data": {"k": "3"}})
    assert refusal(answer) == (409, "Conflict", f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}')
    assert answer.body["details"] == {"name": "a", "kind": "configmaps"}
    sets = space.apps("statefulsets")
    made = await space.made(sets, stateful_set("s"))
    await space.until(sets + "/s", lambda found: found.body["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"])
    answer = await space.api.put(sets + "/s", made)
    assert refusal(answer)[2] == f'Operation cannot be fulfilled on statefulsets.apps "s": {MODIFIED}'
    assert (await space.got(maps + "/a"))["data"] == {"k": "2"}
    for version, code in (("99999999", 409), ("abc", 400), ("-1", 400)):
        body = old | {"metadata": {"name": "a", "resourceVersion": version}}
        assert (await space.api.put(maps + "/a", body)).status == code
    assert (await space.api.put(maps + "/none", old | {"metadata": {"name": "none"}})).status == 404


async def test_api_46_of_many_who_saw_the_same_one_wins(space: Space) -> None:
    maps = space.at("configmaps")
    seen = await space.config_map("a")
    answers = await asyncio.gather(*(space.api.put(maps + "/a", seen | {"data": {"k": str(n)}}) for n in range(20, 32)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 11
    winner = next(answer.body for answer in answers if answer.status == 200)
    assert (await space.got(maps + "/a")) == winner


async def test_api_47_without_a_revision_the_last_one_wins_where_the_kind_allows(space: Space) -> None:
    maps = space.at("configmaps")
    await space.config_map("a")
    bare: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    answers = await asyncio.gather(*(space.api.put(maps + "/a", bare | {"data": {"k": str(n)}}) for n in range(12)))
    assert {answer.status for answer in answers} == {200}
    text = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    leases = space.at("leases", group="coordination.k8s.io/v1")
    lease: Obj = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    assert (await space.api.put(leases + "/l", lease)).status == 201
    answer = await space.api.put(leases + "/l", lease)
    assert refusal(answer) == (422, "Invalid", f'leases.coordination.k8s.io "l" is invalid: {text}')
    assert causes(answer) == [("FieldValueInvalid", "metadata.resourceVersion")]
    budgets = space.at("poddisruptionbudgets", group="policy/v1")
    budget: Obj = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": {"minAvailable": 1}}
    await space.made(budgets, budget)
    assert refusal(await space.api.put(budgets + "/b", budget))[2] == f'poddisruptionbudgets.policy "b" is invalid: {text}'


async def test_api_48_a_uid_is_a_precondition(space: Space) -> None:
    maps = space.at("configmaps")
    old = await space.config_map("a")
    other = "00000000-0000-0000-0000-00000000000a"
    body: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": other}}
    status, reason, text = refusal(await space.api.put(maps + "/a", body))
    assert (status, reason) == (409, "Conflict")
    assert text.endswith(f"Precondition failed: UID in precondition: {other}, UID in object meta: {old['metadata']['uid']}")
    # The name is the same, the object another one: who remembers the first does not write over the second.
    await space.api.delete(maps + "/a")
    new = await space.config_map("a")
    answer = await space.api.put(maps + "/a", {**body, "metadata": {"name": "a", "uid": old["metadata"]["uid"]}})
    assert answer.status == 409
    body["metadata"]["uid"] = new["metadata"]["uid"]
    assert (await space.api.put(maps + "/a", body)).status == 200


async def test_api_49_an_update_that_changes_nothing_is_none(space: Space) -> None:
    maps = space.at("configmaps")
    old = await space.config_map("a", labels={"x": "y"})
    async with space.watching(maps) as events:
        same = await space.api.put(maps + "/a", old)
        assert (same.status, same.body) == (200, old)
        for kind, body in (("merge-patch", {"data": {"k": "1"}}), ("json-patch", [{"op": "replace", "path": "/data/k", "value": "1"}])):
            again = await space.api.patch(maps + "/a", body, f"application/{kind}+json")
            assert again.body["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]
        changed = await space.api.put(maps + "/a", old | {"data": {"k": "2"}})
        assert int(changed.body["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
        async for event in events():
            assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"k": "2"})
            break


async def test_api_50_generation_counts_what_is_desired(space: Space) -> None:
    sets = space.apps("statefulsets")
    await space.made(sets, stateful_set("s"))
    path = sets + "/s"

    async def patched(body: Obj, sub: str = "") -> Obj:
        answer = await space.api.patch(path + sub, body)
        assert answer.status == 200, answer.raw
        found: Obj = answer.body
        return found

    assert (await patched({"metadata": {"labels": {"a": "b"}}}))["metadata"]["generation"] == 1
    assert (await patched({"spec": {"replicas": 0}}))["metadata"]["generation"] == 1
    assert (await patched({"status": {"replicas": 5}}))["status"]["replicas"] == 0
    changed = await patched({"spec": {"minReadySeconds": 3}, "status": {"replicas": 5}})
    assert (changed["metadata"]["generation"], changed["status"]["replicas"]) == (2, 0)
    reported = await patched(
        {"status": {"observedGeneration": 2, "replicas": 0, "collisionCount": 4}, "spec": {"minReadySeconds": 9}}, "/status"
    )
    assert (reported["metadata"]["generation"], reported["spec"]["minReadySeconds"]) == (2, 3)
    assert reported["status"]["collisionCount"] == 4
    assert (await patched({"metadata": {"generation": 77}}))["metadata"]["generation"] == 2


FIELDS = "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy'"


async def test_api_51_a_stateful_set_keeps_what_names_its_members(space: Space) -> None:
    sets = space.apps("statefulsets")
    made = await space.made(sets, stateful_set("s"))
    text = f"updates to statefulset spec for fields other than {FIELDS} and 'minReadySeconds' are forbidden"
    claim = {"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    for field, value in (("serviceName", "other"), ("podManagementPolicy", "Parallel"), ("volumeClaimTemplates", [claim])):
        answer = await space.api.patch(sets + "/s", {"spec": {field: value}})
        assert refusal(answer)[2] == f'StatefulSet.apps "s" is invalid: spec: Forbidden: {text}', field
    free: dict[str, Any] = {
        "replicas": 0,
        "minReadySeconds": 2,
        "revisionHistoryLimit": 3,
        "ordinals": {"start": 4},
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        "template": {"spec": {"terminationGracePeriodSeconds": 4}},
    }
    for field, value in free.items():
        answer = await space.api.patch(sets + "/s", {"spec": {field: value}})
        assert answer.status == 200, (field, answer.raw)
    assert (await space.got(sets + "/s"))["spec"]["selector"] == made["spec"]["selector"]


async def test_api_51_fields_that_were_chosen_once(space: Space) -> None:
    await space.made(space.at("configmaps"), {"metadata": {"name": "a"}, "data": {"k": "1"}, "immutable": True})
    await space.made(space.at("secrets"), {"metadata": {"name": "s"}, "type": "example/one"})
    await space.made(space.at("services"), {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await space.made(space.at("persistentvolumeclaims"), {"metadata": {"name": "c"}, "spec": claim})
    await space.made(space.at("pods"), pod("p", nodeSelector={"x": "none"}))
    for path, body, reason, field in (
        (space.at("configmaps", "a"), {"data": {"k": "2"}}, "FieldValueForbidden", "data"),
        (space.at("configmaps", "a"), {"immutable": False}, "FieldValueForbidden", "immutable"),
        (space.at("secrets", "s"), {"type": "example/two"}, "FieldValueInvalid", "type"),
        (space.at("services", "s"), {"spec": {"clusterIP": "10.96.7.7"}}, "FieldValueInvalid", "spec.clusterIPs[0]"),
        (space.at("persistentvolumeclaims", "c"), {"spec": {"accessModes": ["ReadOnlyMany"]}}, "FieldValueForbidden", "spec"),
        (space.at("pods", "p"), {"spec": {"restartPolicy": "Never"}}, "FieldValueForbidden", "spec"),
        (space.at("pods", "p"), {"spec": {"hostname": "h"}}, "FieldValueForbidden", "spec"),
    ):
        before = await space.got(path)
        answer = await space.api.patch(path, body)
        assert refusal(answer)[:2] == (422, "Invalid"), (path, answer.raw)
        assert (reason, field) in causes(answer), (path, answer.raw)
        assert (await space.got(path)).get("spec") == before.get("spec")
    assert (await space.api.patch(space.at("pods", "p"), {"spec": {"activeDeadlineSeconds": 60}})).status == 200


event = {"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}
half = {"apiVersion": "a/b/c", "kind": "Pod", "name": "p"}


async def test_api_52_all_faults_are_named_at_once(space: Space) -> None:
    body = pod(
        "Bad_Name",
        restartPolicy="Sometimes",
        terminationGracePeriodSeconds=-1,
        containers=[
            {"name": "c", "ports": [{"containerPort": 99999}], "image": "i"},
            {"name": "c", "image": "i", "imagePullPolicy": "Now", "volumeMounts": [{"name": "none", "mountPath": ""}]},
            {"image": "i", "env": [{"name": "", "value": "x"}]},
        ],
    )
    answer = await space.api.post(space.at("pods"), body)
    status, reason, text = refusal(answer)
    assert (status, reason, text[: text.index(":")]) == (422, "Invalid", 'Pod "Bad_Name" is invalid')
    assert {
        ("FieldValueInvalid", "metadata.name"),
        ("FieldValueNotSupported", "spec.restartPolicy"),
        ("FieldValueInvalid", "spec.containers[0].ports[0].containerPort"),
        ("FieldValueDuplicate", "spec.containers[1].name"),
        ("FieldValueNotSupported", "spec.containers[1].imagePullPolicy"),
        ("FieldValueNotFound", "spec.containers[1].volumeMounts[0].name"),
        ("FieldValueRequired", "spec.containers[1].volumeMounts[0].mountPath"),
        ("FieldValueRequired", "spec.containers[2].name"),
        ("FieldValueRequired", "spec.containers[2].env[0].name"),
    } <= set(causes(answer))
    assert all(cause["message"] in text for cause in answer.body["details"]["causes"])
    assert {name: value for name, value in answer.body["details"].items() if name != "causes"} == {"name": "Bad_Name", "kind": "Pod"}
    body = {"metadata": {"name": "m", "finalizers": ["orphan", "foregroundDeletion"], "ownerReferences": [event, half]}}
    assert causes(await space.api.post(space.at("configmaps"), body)) == [
        ("FieldValueInvalid", "metadata.ownerReferences"),
        ("FieldValueInvalid", "metadata.ownerReferences.apiVersion"),
        ("FieldValueInvalid", "metadata.ownerReferences.uid"),
        ("FieldValueInvalid", "metadata.finalizers"),
    ]
    body = {"metadata": {"name": "m" * 254, "annotations": {"a": "x" * 262144}, "labels": {"/": "-"}}, "data": {"k y": "v"}}
    answer = await space.api.post(space.at("configmaps"), body)
    assert {
        ("FieldValueInvalid", "metadata.name"),
        ("FieldValueTooLong", "metadata.annotations"),
        ("FieldValueInvalid", "metadata.labels"),
        ("FieldValueInvalid", "data[k y]"),
    } <= set(causes(answer))
