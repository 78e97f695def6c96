"""API-40 to API-45: what a create takes, adds, names and refuses."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from holdfast.machinery import names
from tests.conformance.api.spaces import Space, pod, refusal, stateful_set

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def config_map(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_api_40_a_create_answers_with_the_object_and_a_name_is_taken_once(space: Space) -> None:
    maps = space.at("configmaps")
    body = config_map(name="a", labels={"x": "1"}) | {"data": {"k": "v"}}
    answer = await space.api.post(maps, body)
    assert answer.status == 201
    assert "Location" not in answer.headers
    made = answer.body
    assert (made["kind"], made["apiVersion"], made["data"], made["metadata"]["labels"]) == ("ConfigMap", "v1", {"k": "v"}, {"x": "1"})
    assert await space.got(maps + "/a") == made
    again = await space.api.post(maps, body)
    assert refusal(again) == (409, "AlreadyExists", 'configmaps "a" already exists')
    assert again.body["details"] == {"name": "a", "kind": "configmaps"}
    taken = await space.api.post(space.apps("statefulsets"), stateful_set("s"))
    assert taken.status == 201
    again = await space.api.post(space.apps("statefulsets"), stateful_set("s"))
    assert refusal(again) == (409, "AlreadyExists", 'statefulsets.apps "s" already exists')
    assert again.body["details"] == {"name": "s", "group": "apps", "kind": "statefulsets"}


async def test_api_40_of_many_creates_of_one_name_one_succeeds(space: Space) -> None:
    maps = space.at("configmaps")
    answers = await asyncio.gather(*(space.api.post(maps, config_map(name="one", labels={"n": str(n)})) for n in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19
    (won,) = (answer.body for answer in answers if answer.status == 201)
    assert await space.got(maps + "/one") == won


async def test_api_41_a_revision_is_not_for_new_objects(space: Space) -> None:
    maps = space.at("configmaps")
    for version in ("1", "5"):
        answer = await space.api.post(maps, config_map(name="a", resourceVersion=version))
        assert refusal(answer) == (400, "BadRequest", "resourceVersion should not be set on objects to be created")
    assert await space.gone(maps + "/a")
    for name, version in (("b", ""), ("c", "0")):
        made = await space.made(maps, config_map(name=name, resourceVersion=version))
        assert int(made["metadata"]["resourceVersion"]) > 0


async def test_api_42_only_the_server_says_who_an_object_is(space: Space) -> None:
    given = {
        "uid": "00000000-0000-0000-0000-000000000001",
        "creationTimestamp": "2001-01-01T00:00:00Z",
        "deletionTimestamp": "2001-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 7,
        "generation": 9,
        "selfLink": "/x",
    }
    body = stateful_set("s")
    body["metadata"] |= given
    body["status"] = {"replicas": 9}
    made = await space.made(space.apps("statefulsets"), body)
    metadata = made["metadata"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", metadata["uid"])
    assert metadata["uid"] != given["uid"]
    assert metadata["creationTimestamp"] > "2020"
    assert metadata["generation"] == 1
    assert not {"deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"} & set(metadata)
    assert made["status"]["replicas"] == 0
    assert metadata["namespace"] == space.name


async def test_api_43_names_are_made_from_a_prefix(space: Space) -> None:
    maps = space.at("configmaps")
    made = [(await space.made(maps, config_map(generateName="web-")))["metadata"] for _ in range(10)]
    assert len({one["name"] for one in made}) == 10
    for one in made:
        assert re.fullmatch(f"web-[{ALPHABET}]{{5}}", one["name"])
        assert one["generateName"] == "web-"
    long = (await space.made(maps, config_map(generateName="x" * 100)))["metadata"]["name"]
    assert re.fullmatch(f"x{{58}}[{ALPHABET}]{{5}}", long)
    named = await space.made(maps, config_map(name="given", generateName="web-"))
    assert named["metadata"]["name"] == "given"
    answer = await space.api.post(maps, config_map(generateName="Web_"))
    assert answer.body["details"]["causes"][0]["field"] == "metadata.generateName"
    status, reason, text = refusal(await space.api.post(maps, config_map()))
    assert (status, reason) == (422, "Invalid")
    assert "metadata.name: Required value: name or generateName is required" in text


async def test_api_43_a_taken_name_is_tried_eight_times(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = space.at("configmaps")
    await space.config_map("web-taken")
    ends = iter(["taken"] * 7 + ["fresh"] + ["taken"] * 8)
    monkeypatch.setattr(names, "generate_name", lambda base: base + next(ends))
    assert (await space.made(maps, config_map(generateName="web-")))["metadata"]["name"] == "web-fresh"
    answer = await space.api.post(maps, config_map(generateName="web-"))
    text = 'configmaps "web-taken" already exists, the server was not able to generate a unique name for the object'
    assert refusal(answer) == (409, "AlreadyExists", text)
    assert (answer.body["details"]["retryAfterSeconds"], answer.headers["Retry-After"]) == (1, "1")
    assert next(ends, "none left") == "none left"


async def test_api_44_the_body_is_what_the_url_says(space: Space) -> None:
    maps = space.at("configmaps")
    answer = await space.api.post(maps, config_map(name="a", namespace="other"))
    text = "the namespace of the provided object does not match the namespace sent on the request"
    assert refusal(answer) == (400, "BadRequest", text)
    await space.config_map("b")
    answer = await space.api.put(maps + "/b", config_map(name="a"))
    text = "the name of the object (a) does not match the name on the URL (b)"
    assert refusal(answer) == (400, "BadRequest", text)
    answer = await space.api.put(maps + "/b", config_map())
    text = "the name of the object (b based on URL) was undeterminable: name must be provided"
    assert refusal(answer) == (400, "BadRequest", text)
    for api_version, kind in (("v2", "ConfigMap"), ("apps/v1", "ConfigMap"), ("v1", "Secret"), ("apps/v1", "Deployment")):
        answer = await space.api.post(maps, {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}})
        assert refusal(answer)[:2] == (400, "BadRequest"), (api_version, kind)
    assert await space.gone(maps + "/a")
    made = await space.made(maps, {"metadata": {"name": "a"}})
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")


async def test_api_45_a_namespace_that_ends_takes_nothing_new(space: Space) -> None:
    maps = space.at("configmaps")
    await space.config_map("keeps", finalizers=["test.example/hold"])
    assert (await space.api.delete(f"/api/v1/namespaces/{space.name}")).status == 200
    answer = await space.api.post(maps, config_map(name="late"))
    why = f"unable to create new content in namespace {space.name} because it is being terminated"
    assert refusal(answer) == (403, "Forbidden", f'configmaps "late" is forbidden: {why}')
    cause = {"reason": "NamespaceTerminating", "message": f"namespace {space.name} is being terminated", "field": "metadata.namespace"}
    assert answer.body["details"]["causes"] == [cause]
    # What is there may still change, or nothing could ever let go of it.
    assert (await space.api.patch(maps + "/keeps", {"metadata": {"finalizers": None}})).status == 200
    assert await space.gone(maps + "/keeps")


async def test_api_45_nor_anything_new_for_what_is_in_it(space: Space) -> None:
    await space.config_map("keeps", finalizers=["test.example/hold"])
    bound = pod("p", nodeName="n1")
    bound["metadata"]["finalizers"] = ["test.example/hold"]
    await space.made(space.at("pods"), bound)
    await space.api.delete(f"/api/v1/namespaces/{space.name}")
    review: dict[str, Any] = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p", "namespace": space.name}}
    binding = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    token = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {"audiences": ["a"]}}
    for plural, name, path, body in (
        ("pods", "p", space.at("pods", "p", "eviction"), review),
        ("pods", "p", space.at("pods", "p", "binding"), binding),
        ("bindings", "p", space.at("bindings"), binding),
        ("serviceaccounts", "default", space.at("serviceaccounts", "default", "token"), token),
    ):
        answer = await space.api.post(path, body)
        why = f"unable to create new content in namespace {space.name} because it is being terminated"
        assert refusal(answer) == (403, "Forbidden", f'{plural} "{name}" is forbidden: {why}')
    for name in ("keeps", "p"):
        path = space.at("pods" if name == "p" else "configmaps", name)
        assert (await space.api.patch(path, {"metadata": {"finalizers": None}})).status == 200


async def test_api_45_a_namespace_that_is_not_there(space: Space) -> None:
    for path in ("/api/v1/namespaces/none/configmaps", "/apis/apps/v1/namespaces/none/statefulsets"):
        body = config_map(name="a") if "maps" in path else stateful_set("a")
        answer = await space.api.post(path, body)
        assert refusal(answer) == (404, "NotFound", 'namespaces "none" not found')
        assert answer.body["details"] == {"name": "none", "kind": "namespaces"}
