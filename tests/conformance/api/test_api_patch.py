"""API-61 to API-65: the four kinds of patches, how each merges, and what none of them may change."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from holdfast.client.api import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from tests.conformance.api.spaces import Obj, Space, causes, pod, refusal, stateful_set

pytestmark = pytest.mark.asyncio(loop_scope="module")
REJECTED = (422, "Invalid", "the server rejected our request due to an error in our request")


async def patched(space: Space, path: str, body: Any, kind: str = MERGE_PATCH) -> Obj:
    answer = await space.api.patch(path, body, kind)
    assert answer.status == 200, answer.raw
    found: Obj = answer.body
    return found


async def test_api_61_a_patch_says_of_which_kind_it_is(space: Space) -> None:
    path = space.at("configmaps", "a")
    await space.config_map("a")
    apply = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"d": "4"}}
    for kind, query, body in (
        (JSON_PATCH, "", [{"op": "add", "path": "/data/a", "value": "1"}]),
        (MERGE_PATCH, "", {"data": {"b": "2"}}),
        (STRATEGIC_PATCH, "", {"data": {"c": "3"}}),
        (APPLY_PATCH, "?fieldManager=m", apply),
    ):
        answer = await space.api.call("PATCH", path + query, orjson.dumps(body), {"Content-Type": f"{kind}; charset=utf-8"})
        assert answer.status == 200, answer.raw
    assert (await space.got(path))["data"] == {"k": "1", "a": "1", "b": "2", "c": "3", "d": "4"}
    for unknown in ("application/json", "text/plain", "application/yaml", "application/unknown-patch+json", ""):
        answer = await space.api.call("PATCH", path, b'{"data":{"k":"no"}}', {"Content-Type": unknown} if unknown else {})
        assert refusal(answer) == (415, "UnsupportedMediaType", "415: Unsupported Media Type"), unknown
    assert (await space.got(path))["data"]["k"] == "1"
    assert refusal(await space.api.patch(space.at("configmaps", "none"), {}))[:2] == (404, "NotFound")


async def test_api_62_a_json_patch_is_done_whole_or_not_at_all(space: Space) -> None:
    path = space.at("configmaps", "a")
    made = await space.config_map("a", {"a": "1", "b": "2"})
    good = {"op": "replace", "path": "/data/a", "value": "changed"}
    for bad in (
        {"op": "test", "path": "/data/a", "value": "other"},
        {"op": "test", "path": "/data/none", "value": "x"},
        {"op": "test", "path": "/data/a", "value": None},
        {"op": "test", "path": "/none/a", "value": None},
        {"op": "remove", "path": "/data/none"},
        {"op": "add", "path": "/none/x", "value": "1"},
        {"op": "move", "from": "/data/none", "path": "/data/x"},
        {"op": "frob", "path": "/data/a"},
    ):
        answer = await space.api.patch(path, [good, bad], JSON_PATCH)
        assert refusal(answer) == REJECTED, bad
    for wrong in ({"op": "remove", "path": "/data/a"}, '"text"', "[", "[1]"):
        assert refusal(await space.api.patch(path, wrong, JSON_PATCH))[:2] == (400, "BadRequest"), wrong
    assert (await space.got(path)) == made
    steps = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "test", "path": "/metadata/annotations", "value": None},
        {"op": "add", "path": "/metadata/annotations", "value": {"x/y": "1"}},
        {"op": "replace", "path": "/metadata/annotations/x~1y", "value": "2"},
        {"op": "copy", "from": "/data/a", "path": "/data/c"},
        {"op": "move", "from": "/data/b", "path": "/data/d"},
        {"op": "remove", "path": "/data/a"},
    ]
    found = await patched(space, path, steps, JSON_PATCH)
    assert (found["data"], found["metadata"]["annotations"]) == ({"c": "1", "d": "2"}, {"x/y": "2"})


async def test_api_62_lists_are_addressed_by_position(space: Space) -> None:
    path = space.apps("statefulsets", "s")
    await space.made(space.apps("statefulsets"), stateful_set("s"))
    containers = "/spec/template/spec/containers"
    steps = [
        {"op": "add", "path": containers + "/-", "value": {"name": "last", "image": "i"}},
        {"op": "add", "path": containers + "/0", "value": {"name": "first", "image": "i"}},
    ]
    found = await patched(space, path, steps, JSON_PATCH)
    assert [one["name"] for one in found["spec"]["template"]["spec"]["containers"]] == ["first", "c", "last"]
    for position in ("7", "-9", "x", ""):
        answer = await space.api.patch(path, [{"op": "remove", "path": f"{containers}/{position}"}], JSON_PATCH)
        assert refusal(answer) == REJECTED, position
    # Upstream's library counts from the end too: of what is there, and of the places for something new.
    steps = [
        {"op": "add", "path": containers + "/-1", "value": {"name": "end", "image": "i"}},
        {"op": "replace", "path": containers + "/-2/image", "value": "new"},
        {"op": "remove", "path": containers + "/-4"},
    ]
    found = await patched(space, path, steps, JSON_PATCH)
    left = [(one["name"], one["image"]) for one in found["spec"]["template"]["spec"]["containers"]]
    assert left == [("c", "i"), ("last", "new"), ("end", "i")]


async def test_api_62_json_patches_are_bounded(space: Space) -> None:
    path = space.at("configmaps", "a")
    await space.config_map("a", {"a": "x" * 1000})
    answer = await space.api.patch(path, [{"op": "test", "path": "/data/a", "value": "x" * 9}] * 10_001, JSON_PATCH)
    text = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    assert refusal(answer) == (413, "RequestEntityTooLarge", text)
    doubling = [{"op": "copy", "from": "/data", "path": f"/data/{n}"} for n in range(40)]
    assert refusal(await space.api.patch(path, doubling, JSON_PATCH))[0] in (413, 422)
    assert len((await space.got(path))["data"]) == 1


async def test_api_63_in_a_merge_patch_null_deletes_and_lists_are_replaced(space: Space) -> None:
    path = space.at("configmaps", "a")
    await space.config_map("a", {"a": "1", "b": "2"}, finalizers=["x.example/1", "x.example/2"], labels={"l": "1"})
    body = {"data": {"a": None, "none": None, "c": "3"}, "metadata": {"labels": None, "finalizers": ["x.example/3"]}}
    found = await patched(space, path, body)
    assert (found["data"], found["metadata"]["finalizers"]) == ({"b": "2", "c": "3"}, ["x.example/3"])
    assert "labels" not in found["metadata"]
    again = await patched(space, path, {"data": {"none": None}})
    assert again == found
    for wrong in ([], "[", "7"):
        assert refusal(await space.api.patch(path, wrong))[:2] == (400, "BadRequest")
    assert (await patched(space, path, {"metadata": {"finalizers": None}}))["data"] == found["data"]


async def test_api_63_a_strategic_patch_knows_the_keys_of_lists(space: Space) -> None:
    path = space.apps("statefulsets", "s")
    ports = [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]
    containers = [{"name": "a", "image": "i", "ports": ports, "args": ["1", "2"]}, {"name": "b", "image": "i"}]
    body = stateful_set("s")
    body["spec"]["template"]["spec"]["containers"] = containers
    await space.made(space.apps("statefulsets"), body)

    async def pod_spec(change: Obj) -> Obj:
        found = await patched(space, path, {"spec": {"template": {"spec": change}}}, STRATEGIC_PATCH)
        spec: Obj = found["spec"]["template"]["spec"]
        return spec

    spec = await pod_spec({"containers": [{"name": "b", "image": "new"}, {"name": "c", "image": "i"}]})
    # What is new comes first, as everywhere with this patch.
    assert {one["name"]: one["image"] for one in spec["containers"]} == {"a": "i", "b": "new", "c": "i"}
    spec = await pod_spec(
        {"containers": [{"name": "a", "ports": [{"containerPort": 53, "protocol": "UDP", "name": "dns"}], "args": ["3"]}]}
    )
    first = next(one for one in spec["containers"] if one["name"] == "a")
    assert first["args"] == ["3"]
    spec = await pod_spec(
        {"containers": [{"name": "c", "$patch": "delete"}], "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    )
    assert [one["name"] for one in spec["containers"]] == ["b", "a"]
    spec = await pod_spec({"containers": [{"$patch": "replace"}, {"name": "z", "image": "i"}]})
    assert [one["name"] for one in spec["containers"]] == ["z"]
    spec = await pod_spec({"volumes": [{"name": "v", "emptyDir": {}}]})
    spec = await pod_spec({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "m"}}]})
    assert set(spec["volumes"][0]) == {"name", "configMap"}
    strategy = {"$retainKeys": ["type"], "type": "OnDelete"}
    found = await patched(space, path, {"spec": {"updateStrategy": strategy}}, STRATEGIC_PATCH)
    assert found["spec"]["updateStrategy"] == {"type": "OnDelete"}


async def test_api_63_a_strategic_patch_merges_sets_and_replaces_maps_when_told(space: Space) -> None:
    path = space.at("configmaps", "a")
    await space.config_map("a", {"a": "1"}, finalizers=["x.example/1"])
    found = await patched(space, path, {"metadata": {"finalizers": ["x.example/2"]}}, STRATEGIC_PATCH)
    assert sorted(found["metadata"]["finalizers"]) == ["x.example/1", "x.example/2"]
    body: Obj = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.example/1"]}, "data": {"$patch": "replace", "b": "2"}}
    found = await patched(space, path, body, STRATEGIC_PATCH)
    assert (found["metadata"]["finalizers"], found["data"]) == (["x.example/2"], {"b": "2"})
    found = await patched(space, path, {"metadata": {"finalizers": None}, "data": {"$patch": "delete"}}, STRATEGIC_PATCH)
    assert "data" not in found
    pods = space.at("pods")
    await space.made(pods, pod("p", nodeSelector={"x": "none"}))
    answer = await space.api.patch(pods + "/p", {"spec": {"containers": [{"image": "no name"}]}}, STRATEGIC_PATCH)
    status, _, text = refusal(answer)
    assert (status, "does not contain declared merge key: name" in text) == (400, True)


async def test_api_64_a_revision_in_a_patch_is_a_lock(space: Space) -> None:
    path = space.at("configmaps", "a")
    old = (await space.config_map("a"))["metadata"]["resourceVersion"]
    now = (await patched(space, path, {"metadata": {"resourceVersion": old}, "data": {"k": "2"}}))["metadata"]["resourceVersion"]
    text = "the object has been modified; please apply your changes to the latest version and try again"
    for kind, body in (
        (MERGE_PATCH, {"metadata": {"resourceVersion": old}, "data": {"k": "3"}}),
        (STRATEGIC_PATCH, {"metadata": {"resourceVersion": old}, "data": {"k": "3"}}),
        (JSON_PATCH, [{"op": "replace", "path": "/metadata/resourceVersion", "value": old}]),
    ):
        answer = await space.api.patch(path, body, kind)
        assert refusal(answer) == (409, "Conflict", f'Operation cannot be fulfilled on configmaps "a": {text}')
    answers = await asyncio.gather(
        *(space.api.patch(path, {"metadata": {"resourceVersion": now}, "data": {"k": f"{n}"}}) for n in range(20, 30))
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 9


async def test_api_64_a_patch_may_take_the_revision_away_where_the_kind_allows(space: Space) -> None:
    path = space.at("configmaps", "a")
    await space.config_map("a")
    for number, version in enumerate(("", "0", None)):
        found = await patched(space, path, {"metadata": {"resourceVersion": version}, "data": {"k": f"new {number}"}})
        assert found["data"] == {"k": f"new {number}"}
    for version, code in ((7, 422), ("abc", 400), ("99999999", 409)):
        assert (await space.api.patch(path, {"metadata": {"resourceVersion": version}})).status == code
    leases = space.at("leases", group="coordination.k8s.io/v1")
    await space.made(leases, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}})
    answer = await space.api.patch(leases + "/l", {"metadata": {"resourceVersion": None}, "spec": {"leaseDurationSeconds": 3}})
    assert causes(answer) == [("FieldValueInvalid", "metadata.resourceVersion")]
    assert (await patched(space, leases + "/l", {"spec": {"leaseDurationSeconds": 3}}))["spec"] == {"leaseDurationSeconds": 3}


async def test_api_64_without_one_every_patch_lands(space: Space) -> None:
    path = space.at("configmaps", "a")
    await space.config_map("a")
    bodies: list[tuple[str, Any]] = [(MERGE_PATCH, {"data": {f"m{n}": "x"}}) for n in range(10)]
    bodies += [(JSON_PATCH, [{"op": "add", "path": f"/data/j{n}", "value": "x"}]) for n in range(10)]
    bodies += [(STRATEGIC_PATCH, {"data": {f"s{n}": "x"}}) for n in range(10)]
    answers = await asyncio.gather(*(space.api.patch(path, body, kind) for kind, body in bodies))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["metadata"]["resourceVersion"] for answer in answers}) == 30
    assert len((await space.got(path))["data"]) == 31


async def test_api_65_a_patch_does_not_change_who_an_object_is(space: Space) -> None:
    path = space.at("configmaps", "a")
    made = await space.config_map("a")
    answer = await space.api.patch(path, {"metadata": {"name": "b"}})
    text = "the name of the object (b) does not match the name on the URL (a)"
    assert refusal(answer) == (400, "BadRequest", text)
    answer = await space.api.patch(path, {"metadata": {"namespace": "default"}})
    text = "the namespace of the provided object does not match the namespace sent on the request"
    assert refusal(answer) == (400, "BadRequest", text)
    uid = "00000000-0000-0000-0000-00000000000c"
    answer = await space.api.patch(path, {"metadata": {"uid": uid}})
    text = f'ConfigMap "a" is invalid: metadata.uid: Invalid value: "{uid}": field is immutable'
    assert refusal(answer) == (422, "Invalid", text)
    assert set(causes(answer)) == {("FieldValueInvalid", "metadata.uid")}
    for body in ({"kind": "Secret"}, {"apiVersion": "v2"}, {"metadata": None}, {"metadata": 7}, {"data": 7}):
        assert refusal(await space.api.patch(path, body))[:2] == (422, "Invalid"), body
    answer = await space.api.patch(path, {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7, "selfLink": "/x"}})
    assert (answer.status, answer.body) == (200, made)
    assert (await space.got(path)) == made
    assert (await space.api.get(space.at("configmaps", "b"))).status == 404
