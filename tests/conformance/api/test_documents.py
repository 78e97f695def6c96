"""API-74 and API-77 from outside: health, discovery, OpenAPI v2 and v3; what clients keep of them, and for how long."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

import pytest

from holdfast.kinds.builtin import builtin_table
from holdfast.machinery import openapi_protobuf
from holdfast.server.documents import openapi, prose
from holdfast.server.health import Health
from tests.serving import Api, api_server

Json = dict[str, Any]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
REFERENCE = re.compile(rb'"\$ref":"#/(?:definitions|components/schemas)/([^"]+)"')


reads = pytest.mark.asyncio(loop_scope="module")
"""Tests that change nothing: one server for all of them."""


@pytest.fixture
def api(served: Api) -> Api:
    return served


# Health.


@reads
async def test_api_74_health_names_its_checks(api: Api) -> None:
    assert (await api.get("/livez")).raw == b"ok"
    told = (await api.get("/livez?verbose")).raw.decode().splitlines()
    assert told[0] == "[+]ping ok"
    assert told[-1] == "livez check passed"
    assert "[+]etcd ok" in told
    for line in told[:-1]:
        name = line.removeprefix("[+]").removesuffix(" ok")
        assert (await api.get(f"/livez/{name}")).raw == b"ok"
    ready = (await api.get("/readyz?verbose")).raw.decode()
    assert "[+]informer-sync ok\n" in ready
    assert "[+]shutdown ok\n" in ready
    for path in ("/readyz/etcd", "/livez/nope", "/healthz/poststarthook"):
        answer = await api.get(path)
        assert (answer.status, answer.raw) == (404, b"404 page not found\n")


@reads
async def test_api_74_health_leaves_out_what_it_is_told_to(api: Api) -> None:
    assert "[+]etcd excluded: ok\n" in (await api.get("/livez?verbose&exclude=etcd")).raw.decode()
    told = (await api.get("/readyz?verbose&exclude=nope")).raw.decode()
    assert told.endswith('warn: some health checks cannot be excluded: no matches for "nope"\nreadyz check passed\n')


async def test_api_74_health_fails_without_telling_why(caplog: pytest.LogCaptureFixture) -> None:
    health = Health()

    async def broken() -> None:
        raise RuntimeError("the disk is gone")

    health.add("disk", broken, ("livez",))
    answer = await health.all("livez", verbose=False, excluded=())
    assert (answer.status, answer.body) == (500, b"[+]ping ok\n[-]disk failed: reason withheld\nlivez check failed\n")
    assert (await health.one("disk")).status == 500
    assert "the disk is gone" in caplog.text
    assert (await health.all("livez", verbose=False, excluded=["disk"])).status == 200
    assert (await health.all("readyz", verbose=False, excluded=())).status == 200


async def test_api_74_a_server_without_its_controllers_is_not_well(tmp_path) -> None:
    async with api_server(tmp_path) as api:
        api.server.controllers.cancel()
        await asyncio.wait({api.server.controllers})
        for page in ("livez", "readyz"):
            answer = await api.get(f"/{page}")
            assert answer.status == 500
            assert "[-]poststarthook/start-controllers failed: reason withheld\n" in answer.raw.decode()
        assert (await api.get("/livez?exclude=poststarthook/start-controllers")).raw == b"ok"


# Discovery.


@reads
async def test_api_74_aggregated_discovery_comes_in_the_version_asked_for_first(api: Api) -> None:
    for first, second in (("v2", "v2beta1"), ("v2beta1", "v2")):
        accept = f"{AGGREGATED.format(first)},{AGGREGATED.format(second)},application/json"
        for path in ("/api", "/apis"):
            answer = await api.get(path, Accept=accept)
            assert answer.headers["Content-Type"] == AGGREGATED.format(first)
            assert answer.body["apiVersion"] == f"apidiscovery.k8s.io/{first}"
            assert answer.headers["Cache-Control"] == "public"
            known = {"Accept": accept, "If-None-Match": answer.headers["ETag"]}
            again = await api.call("GET", path, headers=known)
            assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", answer.headers["ETag"])
    legacy = await api.get("/apis", Accept=f"application/json,{AGGREGATED.format('v2')}")
    assert legacy.body["kind"] == "APIGroupList"
    assert (await api.get("/apis", Accept=AGGREGATED.format("v9"))).status == 406


@reads
async def test_api_74_both_forms_of_discovery_say_the_same(api: Api) -> None:
    whole: Json = {}
    for path in ("/api", "/apis"):
        for group in (await api.get(path, Accept=AGGREGATED.format("v2"))).body["items"]:
            for version in group["versions"]:
                prefix = f"/apis/{group['metadata']['name']}/" if path == "/apis" else "/api/"
                whole[prefix + version["version"]] = version["resources"]
    listed = (await api.get("/apis")).body["groups"]
    versions = [f"/apis/{each['groupVersion']}" for group in listed for each in group["versions"]]
    assert ["/api/v1", *versions] == list(whole)
    for path, resources in whole.items():
        found: Json = {}
        for resource in (await api.get(path)).body["resources"]:
            found[resource["name"]] = (resource["kind"], resource["namespaced"], resource["verbs"], resource.get("group"))
        said: Json = {}
        for each in resources:
            namespaced = each["scope"] == "Namespaced"
            said[each["resource"]] = (each["responseKind"]["kind"], namespaced, each["verbs"], None)
            for sub in each.get("subresources", []):
                kind = sub["responseKind"]
                said[f"{each['resource']}/{sub['subresource']}"] = (kind["kind"], namespaced, sub["verbs"], kind["group"] or None)
        assert found == said


@reads
async def test_api_74_discovery_comes_as_yaml_and_indented(api: Api) -> None:
    answer = await api.get("/apis/apps", Accept="application/yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert answer.raw.startswith(b"apiVersion: v1\n")
    assert b"\n  " in (await api.get("/apis/apps?pretty=true")).raw
    assert (await api.get("/apis/apps", Accept="text/html")).status == 406


# OpenAPI.


def _refers(document: bytes) -> set[str]:
    return {name.decode() for name in REFERENCE.findall(document)}


@reads
async def test_api_74_openapi_v2_has_every_kind_path_and_definition(api: Api) -> None:
    answer = await api.get("/openapi/v2")
    document = answer.body
    assert _refers(answer.raw) <= document["definitions"].keys()
    for kind in api.registry.kinds:
        resource = kind.resource
        path = resource.path("{namespace}", "{name}" if "get" in kind.verbs else "")
        item = document["paths"][path]
        served = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        for method in item.keys() - {"parameters"}:
            operation = item[method]
            assert operation["x-kubernetes-group-version-kind"] == served
            assert {"200", "401"} <= operation["responses"].keys()
        named = {(each["group"], each["version"], each["kind"]) for d in document["definitions"].values() for each in _gvks(d)}
        assert (resource.group, resource.version, resource.kind) in named
        for sub in kind.subresources:
            assert f"{path}/{sub}" in document["paths"]
        if "watch" in kind.verbs:
            assert path.replace("/v", "/v", 1).replace(resource.api_version, f"{resource.api_version}/watch", 1) in document["paths"]
    ids = [op["operationId"] for item in document["paths"].values() for name, op in item.items() if name != "parameters"]
    assert len(ids) == len(set(ids))
    assert {"listCoreV1NamespacedPod", "readAppsV1NamespacedStatefulSetScale", "deleteCoreV1CollectionNamespacedPod"} <= set(ids)
    assert {"watchCoreV1PodListForAllNamespaces", "connectCoreV1PostNamespacedPodExec", "createCoreV1NamespacedPodBinding"} <= set(ids)


def _gvks(definition: Json) -> list[Json]:
    found: list[Json] = definition.get("x-kubernetes-group-version-kind", [])
    return found


@reads
async def test_api_74_openapi_keeps_what_patches_need(api: Api) -> None:
    two = (await api.get("/openapi/v2")).body["definitions"]
    three = (await api.get("/openapi/v3/api/v1")).body["components"]["schemas"]
    for schemas, reference in ((two, "#/definitions/"), (three, "#/components/schemas/")):
        containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
        assert containers["x-kubernetes-patch-merge-key"] == "name"
        assert containers["x-kubernetes-patch-strategy"] == "merge"
        assert containers["x-kubernetes-list-map-keys"] == ["name"]
        assert containers["x-kubernetes-list-type"] == "map"
        used = containers["items"]
        assert (used.get("$ref") or used["allOf"][0]["$ref"]) == reference + "io.k8s.api.core.v1.Container"
        assert schemas["io.k8s.api.core.v1.ObjectReference"]["x-kubernetes-map-type"] == "atomic"
        assert schemas["io.k8s.api.core.v1.Container"]["required"] == ["name"]
    assert three["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"] == "TCP"
    strategy = two["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]
    assert strategy["x-kubernetes-patch-strategy"] == "retainKeys"
    assert "x-kubernetes-patch-strategy" not in two["io.k8s.api.apps.v1.DeploymentStrategy"]


@reads
async def test_api_74_operations_say_what_a_request_may_ask(api: Api) -> None:
    paths = (await api.get("/openapi/v2")).body["paths"]

    def asked(path: str, method: str) -> set[str]:
        return {p["name"] for p in paths[path][method]["parameters"]}

    pod = "/api/v1/namespaces/{namespace}/pods/{name}"
    assert asked(pod, "patch") == {"body", "dryRun", "fieldManager", "fieldValidation", "force"}
    assert asked(pod, "delete") == {"body", "dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"}
    assert {"labelSelector", "limit", "continue", "watch", "resourceVersionMatch"} <= asked("/api/v1/pods", "get")
    assert {"follow", "tailLines", "previous"} <= asked(f"{pod}/log", "get")
    assert {"command", "tty", "stdin"} <= asked(f"{pod}/exec", "post")
    assert [p["name"] for p in paths[pod]["parameters"]] == ["name", "namespace", "pretty"]
    assert "application/apply-patch+yaml" in paths[pod]["patch"]["consumes"]
    assert paths[pod]["patch"]["x-kubernetes-action"] == "patch"
    assert paths["/api/v1/pods"]["get"]["x-kubernetes-action"] == "list"
    scale = paths["/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}/scale"]["put"]
    assert scale["x-kubernetes-group-version-kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert paths["/apis/storage.k8s.io/v1/storageclasses"]["get"]["tags"] == ["storage_v1"]
    assert paths["/apis/rbac.authorization.k8s.io/v1/"]["get"]["operationId"] == "getRbacAuthorizationV1APIResources"


@reads
async def test_api_74_every_v3_document_stands_by_itself(api: Api) -> None:
    index = (await api.get("/openapi/v3")).body["paths"]
    two = (await api.get("/openapi/v2")).body["paths"]
    seen: set[str] = set()
    for part, where in index.items():
        url = where["serverRelativeURL"]
        assert url.startswith(f"/openapi/v3/{part}?hash=")
        answer = await api.get(url)
        assert answer.body["openapi"] == "3.0.0"
        assert _refers(answer.raw) <= answer.body["components"]["schemas"].keys()
        assert not seen & answer.body["paths"].keys()
        seen |= answer.body["paths"].keys()
    assert seen == two.keys()


@reads
async def test_api_77_a_v3_document_named_by_its_hash_is_kept_for_ever(api: Api) -> None:
    url = (await api.get("/openapi/v3")).body["paths"]["apis/apps/v1"]["serverRelativeURL"]
    named = await api.get(url)
    assert named.headers["Cache-Control"] == "public, immutable"
    assert named.headers["Expires"].endswith(" GMT")
    assert named.headers["Vary"] == "Accept"
    assert url.endswith(f"?hash={hashlib.sha256(named.raw).hexdigest().upper()}")
    unnamed = await api.get("/openapi/v3/apis/apps/v1")
    assert unnamed.headers["Cache-Control"] == "no-cache, private"
    assert unnamed.raw == named.raw
    old = await api.get("/openapi/v3/apis/apps/v1?hash=0123")
    assert (old.status, old.headers["Location"]) == (301, url)
    assert (await api.get("/openapi/v3/apis/nothing/v1")).status == 404


@reads
@pytest.mark.parametrize("path", ["/openapi/v2", "/openapi/v3/api/v1", "/openapi/v3"])
async def test_api_77_documents_have_tags_that_spare_their_bodies(api: Api, path: str) -> None:
    answer = await api.get(path)
    tag = answer.headers["ETag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = await api.call("GET", path, headers={"If-None-Match": known})
        assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", tag)
    assert (await api.call("GET", path, headers={"If-None-Match": '"other"'})).status == 200


@reads
async def test_api_77_large_documents_are_kept_packed_and_go_so_to_who_takes_them(api: Api) -> None:
    async with api.open("GET", "/openapi/v2", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert int(answer.headers["Content-Length"]) < 200_000
        packed = await answer.json()
    async with api.open("GET", "/openapi/v2", headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers
        assert await answer.json() == packed


@reads
@pytest.mark.parametrize(("version", "path"), [("v2", "/openapi/v2"), ("v3", "/openapi/v3/apis/apps/v1")])
async def test_api_77_documents_come_in_the_form_asked_for(api: Api, version: str, path: str) -> None:
    media = f"application/com.github.proto-openapi.spec.{version}.v1.0+protobuf"
    for accept in (media, media.replace(f"{version}.v1", f"{version}@v1"), f"text/html, {media};q=0.9"):
        answer = await api.get(path, Accept=accept)
        assert answer.headers["Content-Type"] == media
        assert answer.headers["Vary"].startswith("Accept")
        assert answer.raw[:1] == b"\n"
    assert (await api.get(path, Accept="*/*")).headers["Content-Type"] == "application/json"
    refused = await api.get(path, Accept="text/html")
    assert (refused.status, refused.headers["Vary"], refused.body["reason"]) == (406, "Accept", "NotAcceptable")


async def test_api_74_nothing_is_made_before_it_is_asked_for(tmp_path) -> None:
    async with api_server(tmp_path) as api:
        assert "holdfast_documents_kept 0" in (await api.get("/metrics")).raw.decode()
        await api.get("/openapi/v3/apis/apps/v1")
        assert "holdfast_documents_kept 1" in (await api.get("/metrics")).raw.decode()


# Descriptions and protobuf, without a server.


def test_api_74_without_descriptions_the_documents_are_the_same_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = builtin_table()
    told = openapi.v3(kinds, "apis/apps/v1", "v1")
    spec = told["components"]["schemas"]["io.k8s.api.apps.v1.StatefulSetSpec"]
    assert spec["properties"]["replicas"]["description"].startswith("replicas is the desired number of replicas")
    monkeypatch.setattr(prose, "definitions", dict)
    bare = openapi.v3(kinds, "apis/apps/v1", "v1")
    assert _undescribed(told["components"]["schemas"]) == bare["components"]["schemas"]
    assert told["paths"] == bare["paths"]


def _undescribed(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if not (name == "description" and isinstance(each, str))}
        return {name: _undescribed(each) for name, each in kept.items()}
    return [_undescribed(each) for each in value] if isinstance(value, list) else value


def _fields(data: bytes) -> dict[int, list[Any]]:
    """A protobuf message read without knowing it: numbers, and bytes of what has a length."""
    found: dict[int, list[Any]] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 2:
            size = number()
            found.setdefault(key >> 3, []).append(data[at : at + size])
            at += size
        elif key & 7 == 1:
            found.setdefault(key >> 3, []).append(data[at : at + 8])
            at += 8
        else:
            found.setdefault(key >> 3, []).append(number())
    assert at == len(data)
    return found


def _map(data: bytes, number: int = 1) -> dict[str, dict[int, list[Any]]]:
    pairs = [_fields(each) for each in _fields(data)[number]]
    return {pair[1][0].decode(): _fields(pair[2][0]) for pair in pairs}


def test_api_74_the_protobuf_of_v3_says_what_the_json_says() -> None:
    document = openapi.v3(builtin_table(), "apis/apps/v1", "v1")
    whole = _fields(openapi_protobuf.encode_v3(document))
    assert whole[1] == [b"3.0.0"]
    components = _fields(whole[5][0])
    schemas = _map(components[1][0])
    assert list(schemas) == list(document["components"]["schemas"])
    for name, node in document["components"]["schemas"].items():
        schema = _fields(schemas[name][1][0])
        assert [text.decode() for text in schema.get(23, [])] == node.get("required", [])
        assert list(_map(schema[31][0]) if 31 in schema else {}) == list(node.get("properties", {}))
        assert schema.get(25, [b""])[0].decode() == node.get("type", "")
    paths = _map(whole[4][0])
    assert list(paths) == list(document["paths"])
    patch = _fields(paths["/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"][10][0])
    assert patch[5] == [b"patchAppsV1NamespacedStatefulSet"]
    named = [_fields(_fields(each)[1][0])[1][0].decode() for each in patch[6]]
    assert named == ["dryRun", "fieldManager", "fieldValidation", "force"]
    extensions = [_fields(each)[1][0].decode() for each in patch[13]]
    assert extensions == ["x-kubernetes-action", "x-kubernetes-group-version-kind"]


def test_api_74_the_protobuf_of_v2_says_what_the_json_says() -> None:
    document = openapi.v2(builtin_table(), "v1")
    whole = _fields(openapi_protobuf.encode_v2(document))
    assert whole[1] == [b"2.0"]
    assert list(_map(whole[9][0])) == list(document["definitions"])
    assert list(_map(whole[8][0], 2)) == list(document["paths"])
    assert list(_map(whole[13][0])) == ["BearerToken"]
