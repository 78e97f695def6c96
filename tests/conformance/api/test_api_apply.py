"""API-66 to API-69: server-side apply and its books, dry runs, and what a body says that nobody knows."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from holdfast.client.api import APPLY_PATCH, JSON_PATCH, STRATEGIC_PATCH
from tests.conformance.api.spaces import Obj, Space, causes, pod, refusal, stateful_set
from tests.serving import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
APPLIED = {"apiVersion": "v1", "kind": "ConfigMap"}


async def apply(space: Space, name: str, manager: str, data: Obj | None = None, query: str = "", **metadata: Any) -> Answer:
    body = APPLIED | {"metadata": {"name": name, **metadata}, "data": data or {}}
    path = f"{space.at('configmaps', name)}?fieldManager={manager}{query}"
    return await space.api.call("PATCH", path, orjson.dumps(body), {"Content-Type": APPLY_PATCH})


def managers(obj: Obj) -> dict[tuple[str, str], Any]:
    """Fields by manager and operation."""
    return {(one["manager"], one["operation"]): one["fieldsV1"] for one in obj["metadata"]["managedFields"]}


async def test_api_66_apply_creates_and_then_changes_what_differs(space: Space) -> None:
    first = await apply(space, "a", "m1", {"x": "1", "y": "2"})
    assert (first.status, first.body["data"]) == (201, {"x": "1", "y": "2"})
    assert managers(first.body) == {("m1", "Apply"): {"f:data": {"f:x": {}, "f:y": {}}}}
    again = await apply(space, "a", "m1", {"x": "1", "y": "2"})
    assert (again.status, again.body) == (200, first.body)
    less = await apply(space, "a", "m1", {"y": "3"})
    assert (less.status, less.body["data"]) == (200, {"y": "3"})


async def test_api_66_apply_needs_a_manager_and_clean_books(space: Space) -> None:
    path = space.at("configmaps", "a")
    body = APPLIED | {"metadata": {"name": "a"}}
    answer = await space.api.patch(path, body, APPLY_PATCH)
    text = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    assert refusal(answer) == (422, "Invalid", text)
    assert causes(answer) == [("FieldValueRequired", "fieldManager")]
    entry = {"manager": "m", "operation": "Apply", "apiVersion": "v1"}
    answer = await apply(space, "a", "m", managedFields=[entry])
    assert refusal(answer) == (400, "BadRequest", "metadata.managedFields must be nil")
    answer = await apply(space, "a", "m" * 129)
    assert causes(answer) == [("FieldValueTooLong", "fieldManager")]
    await space.config_map("b")
    answer = await space.api.patch(space.at("configmaps", "b") + "?force=true", {"data": {"k": "2"}})
    text = 'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'
    assert refusal(answer) == (422, "Invalid", text)
    assert await space.gone(path)


async def test_api_66_a_conflict_names_its_fields_and_can_be_forced(space: Space) -> None:
    await apply(space, "a", "m1", {"x": "1", "y": "2"})
    answer = await apply(space, "a", "m2", {"x": "9", "y": "8"})
    text = 'Apply failed with 2 conflicts: conflicts with "m1":\n- .data.x\n- .data.y'
    assert refusal(answer) == (409, "Conflict", text)
    assert causes(answer) == [("FieldManagerConflict", ".data.x"), ("FieldManagerConflict", ".data.y")]
    assert (await space.got(space.at("configmaps", "a")))["data"] == {"x": "1", "y": "2"}
    forced = await apply(space, "a", "m2", {"x": "9"}, "&force=true")
    assert forced.body["data"] == {"x": "9", "y": "2"}
    assert managers(forced.body) == {("m1", "Apply"): {"f:data": {"f:y": {}}}, ("m2", "Apply"): {"f:data": {"f:x": {}}}}
    answer = await apply(space, "a", "m1", {"x": "1", "y": "2"})
    assert refusal(answer)[2] == 'Apply failed with 1 conflict: conflict with "m2": .data.x'
    # Whoever writes in another way asks nobody, and is asked for afterwards.
    await space.api.patch(space.at("configmaps", "a") + "?fieldManager=editor", {"data": {"y": "edited"}})
    answer = await apply(space, "a", "m1", {"y": "2"})
    assert refusal(answer)[2] == 'Apply failed with 1 conflict: conflict with "editor" using v1: .data.y'


async def test_api_66_what_nobody_applies_any_more_goes(space: Space) -> None:
    await apply(space, "a", "m1", {"shared": "1", "own": "1"})
    both = await apply(space, "a", "m2", {"shared": "1"})
    assert both.status == 200
    one = await apply(space, "a", "m1", {"own": "1"})
    assert one.body["data"] == {"shared": "1", "own": "1"}
    none = await apply(space, "a", "m2")
    assert none.body["data"] == {"own": "1"}
    sets = space.apps("statefulsets", "s")
    body = stateful_set("s")
    containers = body["spec"]["template"]["spec"]["containers"]
    path = sets + "?fieldManager=m1"
    body["spec"]["template"]["spec"]["containers"] = [*containers, {"name": "side", "image": "i"}]
    assert (await space.api.patch(path, orjson.dumps(body), APPLY_PATCH)).status == 201
    await space.api.patch(sets, {"spec": {"template": {"spec": {"containers": [{"name": "other", "image": "i"}]}}}}, STRATEGIC_PATCH)
    body["spec"]["template"]["spec"]["containers"] = containers
    left = await space.api.patch(path, orjson.dumps(body), APPLY_PATCH)
    assert sorted(one["name"] for one in left.body["spec"]["template"]["spec"]["containers"]) == ["c", "other"]


async def test_api_66_preconditions_of_an_apply(space: Space) -> None:
    uid = "00000000-0000-0000-0000-00000000000d"
    answer = await apply(space, "a", "m", uid=uid)
    why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
    assert refusal(answer) == (409, "Conflict", f'Operation cannot be fulfilled on configmaps "a": {why}')
    assert await space.gone(space.at("configmaps", "a"))
    assert (await apply(space, "a", "m", {"k": "1"}, resourceVersion="1")).status == 201
    answer = await apply(space, "a", "m", {"k": "2"}, resourceVersion="1")
    assert refusal(answer)[:2] == (409, "Conflict")
    assert causes(await apply(space, "a", "m", {"k": "2"}, uid=uid)) == [("FieldValueInvalid", "metadata.uid")]
    assert (await space.got(space.at("configmaps", "a")))["data"] == {"k": "1"}
    for body in ({"metadata": {"name": "a"}}, APPLIED | {"kind": "Secret", "metadata": {"name": "a"}}, [], APPLIED):
        path = space.at("configmaps", "a") + "?fieldManager=m"
        answer = await space.api.call("PATCH", path, orjson.dumps(body), {"Content-Type": APPLY_PATCH})
        assert refusal(answer)[:2] == (400, "BadRequest"), body
    answer = await apply(space, "new", "m", {"k": "1"}, "&dryRun=All")
    assert (answer.status, await space.gone(space.at("configmaps", "new"))) == (201, True)


async def test_api_67_an_update_is_booked_under_the_programs_name(space: Space) -> None:
    maps = space.at("configmaps")
    for agent, name in (
        ("kubectl/v1.36.0 (linux/amd64)", "kubectl"),
        ("my-tool", "my-tool"),
        ("a b/1", "a b"),
        ("", "unknown"),
        ("x" * 200, "x" * 128),
    ):
        answer = await space.api.post(maps, {"metadata": {"generateName": "a-"}, "data": {"k": "1"}}, **{"User-Agent": agent})
        assert list(managers(answer.body)) == [(name, "Update")]
    answer = await space.api.post(maps + "?fieldManager=chosen", {"metadata": {"name": "a"}, "data": {"k": "1"}})
    assert managers(answer.body) == {("chosen", "Update"): {"f:data": {".": {}, "f:k": {}}}}
    answer = await space.api.put(maps + "/a", {"metadata": {"name": "a"}, "data": {"k": "1", "l": "2"}}, **{"User-Agent": "put/2"})
    assert managers(answer.body)["put", "Update"] == {"f:data": {"f:l": {}}}
    # Books that are none are not taken; an empty entry closes them for good.
    kept = answer.body["metadata"]["managedFields"]
    entry = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"zz": {}}}
    for books in ([entry], [{"manager": "m"}], []):
        answer = await space.api.put(maps + "/a", answer.body | {"metadata": {"name": "a", "managedFields": books}})
        assert answer.body["metadata"]["managedFields"] == kept
    answer = await space.api.put(maps + "/a", answer.body | {"metadata": {"name": "a", "managedFields": [{}]}})
    assert "managedFields" not in answer.body["metadata"]
    await space.made(space.apps("statefulsets"), stateful_set("s"))
    path = space.apps("statefulsets", "s", "status") + "?fieldManager=reporter"
    answer = await space.api.patch(path, {"status": {"collisionCount": 1}})
    entry = next(one for one in answer.body["metadata"]["managedFields"] if one["manager"] == "reporter")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:collisionCount": {}}})


async def test_api_68_a_dry_run_leaves_no_trace(space: Space) -> None:
    maps, dry = space.at("configmaps"), "dryRun=All"
    await space.config_map("a")
    await space.bound_pod("p")
    before = [await space.got(path) for path in (maps, space.at("pods"), space.at("services"))]
    async with space.watching(maps) as events:
        made = await space.api.post(f"{maps}?{dry}", {"metadata": {"name": "b"}})
        assert (made.status, "uid" in made.body["metadata"]) == (201, True)
        assert (await space.api.put(f"{maps}/a?{dry}", {"metadata": {"name": "a"}, "data": {"k": "2"}})).body["data"] == {"k": "2"}
        for kind, body in ((STRATEGIC_PATCH, {"data": {"k": "3"}}), (JSON_PATCH, [{"op": "remove", "path": "/data/k"}])):
            assert (await space.api.patch(f"{maps}/a?{dry}", body, kind)).status == 200
        assert (await apply(space, "a", "m", {"z": "1"}, f"&{dry}")).body["data"]["z"] == "1"
        for path in (f"{maps}/a?{dry}", f"{maps}?{dry}", f"{space.at('pods', 'p')}?{dry}"):
            assert (await space.api.delete(path)).status == 200
        assert (await space.api.delete(maps + "/a", {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]})).status == 200
        service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "type": "NodePort"}}
        assert (await space.api.post(f"{space.at('services')}?{dry}", service)).status == 201
        after = [await space.got(path) for path in (maps, space.at("pods"), space.at("services"))]
        assert [one["items"] for one in after] == [one["items"] for one in before]
        await space.config_map("real")
        async for event in events():
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "real")
            break


async def test_api_68_a_dry_run_is_as_strict_as_the_real_thing(space: Space) -> None:
    maps = space.at("configmaps")
    await space.config_map("a")
    assert refusal(await space.api.post(maps + "?dryRun=All", {"metadata": {"name": "a"}}))[:2] == (409, "AlreadyExists")
    assert refusal(await space.api.post(maps + "?dryRun=All", {"metadata": {"name": "B_"}}))[:2] == (422, "Invalid")
    assert refusal(await space.api.post(space.at("pods") + "?dryRun=All", pod("p", serviceAccountName="none")))[0] == 403
    answer = await space.api.as_user("jane").post(maps + "?dryRun=All", {"metadata": {"name": "b"}})
    assert refusal(answer)[:2] == (403, "Forbidden")
    for kind, call in (
        ("CreateOptions", space.api.post(maps + "?dryRun=yes", {"metadata": {"name": "b"}})),
        ("UpdateOptions", space.api.put(maps + "/a?dryRun=yes", {"metadata": {"name": "a"}})),
        ("PatchOptions", space.api.patch(maps + "/a?dryRun=yes", {"data": {}})),
        ("DeleteOptions", space.api.delete(maps + "/a?dryRun=yes")),
    ):
        text = f'{kind}.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["yes"]: supported values: "All"'
        assert refusal(await call) == (422, "Invalid", text)
    assert (await space.got(maps + "/a"))["data"] == {"k": "1"}


async def test_api_69_unknown_fields_are_refused_named_or_dropped(space: Space) -> None:
    pods = space.at("pods")
    body = pod("p", foo=1)
    body["spec"]["containers"][0]["bar"] = {"deep": 1}
    answer = await space.api.post(pods + "?fieldValidation=Strict", body)
    status, reason, text = refusal(answer)
    assert (status, reason) == (400, "BadRequest")
    assert text.endswith('strict decoding error: unknown field "spec.containers[0].bar", unknown field "spec.foo"')
    for how in ("Warn", ""):
        answer = await space.api.post(f"{pods}?dryRun=All&fieldValidation={how}", body)
        assert answer.status == 201
        assert answer.warnings == ['299 - "unknown field \\"spec.containers[0].bar\\""', '299 - "unknown field \\"spec.foo\\""']
        assert not {"foo"} & set(answer.body["spec"])
    answer = await space.api.post(f"{pods}?dryRun=All&fieldValidation=Ignore", body)
    assert (answer.status, answer.warnings) == (201, [])
    answer = await space.api.post(f"{pods}?fieldValidation=strict", body)
    assert causes(answer) == [("FieldValueNotSupported", "fieldValidation")]
    assert await space.gone(pods + "/p")


async def test_api_69_what_stands_twice(space: Space) -> None:
    maps = space.at("configmaps")
    twice = '{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}'
    json = {"Content-Type": "application/json"}
    answer = await space.api.call("POST", maps + "?fieldValidation=Strict", twice, json)
    status, reason, text = refusal(answer)
    assert (status, reason) == (400, "BadRequest")
    assert text.endswith('strict decoding error: duplicate field "data.k"')
    answer = await space.api.call("POST", maps + "?dryRun=All", twice, json)
    assert (answer.status, answer.warnings, answer.body["data"]) == (201, ['299 - "duplicate field \\"data.k\\""'], {"k": "2"})
    answer = await space.api.call("POST", maps + "?dryRun=All&fieldValidation=Ignore", twice, json)
    assert (answer.status, answer.warnings) == (201, [])
    text = "metadata: {name: a}\ndata:\n  k: '1'\n  k: '2'\n"
    answer = await space.api.call("POST", maps + "?fieldValidation=Strict", text, {"Content-Type": "application/yaml"})
    assert 'key "k" already set in map' in refusal(answer)[2]
    await space.config_map("a")
    answer = await space.api.call("PATCH", maps + "/a?fieldValidation=Strict", '{"foo":1}', {"Content-Type": STRATEGIC_PATCH})
    assert 'unknown field "foo"' in refusal(answer)[2]
    assert answer.status == 422
