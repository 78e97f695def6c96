"""API-70 to API-75, API-77, API-78 from outside: sizes, overload, time limits, refusals, health, headers, gzip, paths."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from holdfast.server.gate import Limits
from tests.serving import STORES, Answer, Api, api_server

pytestmark = pytest.mark.parametrize("store", STORES)
MAPS = "/api/v1/namespaces/default/configmaps"
NOT_ALLOWED = "the server does not allow this method on the requested resource"


@pytest.fixture
async def api(tmp_path, store) -> AsyncIterator[Api]:
    async with api_server(tmp_path, store) as server:
        yield server


def config_map(name: str, data: str = "1", **metadata: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": data}}


def refusal(answer: Answer) -> tuple[int, str, str]:
    assert answer.body["kind"] == "Status", answer.raw[:200]
    return answer.status, answer.body["reason"], answer.body["message"]


async def test_api_70_sizes_are_limited_with_upstreams_texts(api: Api) -> None:
    too_large = (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    assert refusal(await api.post(MAPS, config_map("big", "x" * (3 << 20)))) == too_large

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b" " * (1 << 17)

    async with api.session.post(
        api.server.address + MAPS, data=endless(), headers={"Content-Type": "application/json"}, ssl=api.tls
    ) as answer:
        assert (answer.status, (await answer.json())["message"]) == too_large[::2]
    text = 'ConfigMap "big" is invalid: []: Too long: may not be more than 1048576 bytes'
    assert refusal(await api.post(MAPS, config_map("big", "x" * (1 << 20 | 1)))) == (422, "Invalid", text)
    text = 'ConfigMap "big" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes'
    assert refusal(await api.post(MAPS, config_map("big", annotations={"a": "x" * 262144}))) == (422, "Invalid", text)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "big"}, "stringData": {"a": "x" * (1 << 20 | 1)}}
    status, _, text = refusal(await api.post("/api/v1/namespaces/default/secrets", secret))
    assert (status, text) == (422, 'Secret "big" is invalid: data: Too long: may not be more than 1048576 bytes')
    revision = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "big"}, "revision": 1}
    path = "/apis/apps/v1/namespaces/default/controllerrevisions"
    assert (await api.post(path, {**revision, "data": {"a": "x" * 1_600_000}})).status == 413
    for depth in (500, 10_001):
        answer = await api.call("POST", path, b'{"a":' * depth + b"1" + b"}" * depth, {"Content-Type": "application/json"})
        assert "invalid character '{' exceeded max depth" in refusal(answer)[2]
        assert answer.status == 400
    assert (await api.get(MAPS + "/big")).status == 404


async def test_api_71_what_exceeds_the_seats_waits_and_what_exceeds_the_queue_is_refused(tmp_path, store) -> None:
    async with api_server(tmp_path, store, Limits(reads=4, writes=4, queued=2)) as admin:
        await allow_everything(admin, "tenant")
        tenant, kubelet = admin.as_user("tenant"), admin.as_user("system:node:n", "system:nodes")
        # A list at a revision that is still to come holds its seat while it waits.
        held = [asyncio.create_task(tenant.get(f"{MAPS}?resourceVersion=900000&timeout=700ms&n={n}")) for n in range(4)]
        while "gate_workload_reads_queued 2" not in (await admin.get("/metrics")).body:
            pass
        answer = await tenant.get(MAPS)
        assert refusal(answer) == (429, "TooManyRequests", "Too many requests, please try again later.")
        assert answer.headers["Retry-After"] == "1"
        assert answer.body["details"] == {"retryAfterSeconds": 1}
        # Writes have seats of their own, administrators need none, nodes have their own.
        assert (await tenant.post(MAPS, config_map("a"))).status == 201
        assert (await admin.get(MAPS)).status == 200
        assert (await kubelet.get("/api/v1/nodes")).status in (200, 403)
        assert [(await task).status for task in held] == [504] * 4
        assert (await tenant.get(MAPS)).status == 200


async def test_api_71_watches_take_no_seat(tmp_path, store) -> None:
    async with api_server(tmp_path, store, Limits(reads=2, writes=2, queued=0)) as admin:
        await allow_everything(admin, "tenant")
        tenant = admin.as_user("tenant")
        async with tenant.open("GET", MAPS + "?watch=1"), tenant.open("GET", MAPS + "?watch=1"):
            assert (await tenant.get(MAPS)).status == 200


async def test_api_71_the_level_that_served_a_request_is_named(api: Api) -> None:
    names = ("X-Kubernetes-PF-FlowSchema-UID", "X-Kubernetes-PF-PriorityLevel-UID")
    await allow_everything(api, "tenant")
    levels = set()
    for who in (api, api.as_user("tenant"), api.as_user("system:node:n", "system:nodes")):
        for path in (MAPS, "/api"):
            answer = await who.get(path)
            levels.add(tuple(answer.headers[name] for name in names))
    assert len(levels) == 3
    assert names[0] not in (await api.with_token("garbage").get(MAPS)).headers


async def test_api_72_a_request_ends_at_its_timeout(api: Api) -> None:
    text = "Timeout: request did not complete within requested timeout - context deadline exceeded"
    assert refusal(await api.get(MAPS + "?resourceVersion=900000&timeout=50ms")) == (504, "Timeout", text)
    assert (await api.post(MAPS + "?timeout=1m30s", config_map("a"))).status == 201
    assert (await api.get(MAPS + "?timeout=0")).status == 200
    for wrong in ("5", "abc", "1x", "-", "5s5", "9" * 5000 + "s"):
        answer = await api.get(f"{MAPS}?timeout={wrong}")
        assert refusal(answer) == (400, "BadRequest", "invalid timeout specified in the request URL")


async def test_api_72_no_request_takes_longer_than_the_server_allows(tmp_path, store) -> None:
    async with api_server(tmp_path, store, Limits(request_seconds=0.2)) as api:

        async def dripping() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        async with api.session.post(
            api.server.address + MAPS, data=dripping(), headers={"Content-Type": "application/json"}, ssl=api.tls
        ) as answer:
            assert (answer.status, (await answer.json())["reason"]) == (504, "Timeout")
        assert (await api.get(MAPS + "?resourceVersion=900000")).status == 504
        async with api.open("GET", MAPS + "?watch=1&timeoutSeconds=1") as watch:
            assert watch.status == 200
            assert b"ConfigMap" in await watch.read()  # it outlived the limit


async def test_api_73_refusals_say_who_and_what(api: Api) -> None:
    answer = await api.with_token("garbage").get(MAPS)
    assert answer.body == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized",
        "reason": "Unauthorized", "code": 401,
    }  # fmt: skip
    text = 'configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default"'
    assert refusal(await api.as_user("jane").get(MAPS)) == (403, "Forbidden", text)
    text = 'statefulsets.apps "d" is forbidden: User "jane" cannot get resource "statefulsets" in API group "apps" in the namespace'
    answer = await api.as_user("jane").get("/apis/apps/v1/namespaces/default/statefulsets/d")
    assert refusal(answer) == (403, "Forbidden", f'{text} "default"')
    assert answer.body["details"] == {"name": "d", "group": "apps", "kind": "statefulsets"}


async def test_api_73_a_method_that_is_not_served_is_405(api: Api) -> None:
    for method, path in (
        ("OPTIONS", MAPS + "/a"), ("TRACE", MAPS + "/a"), ("POST", MAPS + "/a"), ("PUT", MAPS), ("PATCH", MAPS),
        ("DELETE", "/api/v1/namespaces"), ("DELETE", "/api/v1"), ("POST", "/version"), ("PUT", "/healthz"),
    ):  # fmt: skip
        answer = await api.call(method, path)
        assert refusal(answer) == (405, "MethodNotAllowed", NOT_ALLOWED), (method, path)
        assert answer.body["details"] == {}
    head = await api.call("HEAD", MAPS)
    assert (head.status, head.raw) == (405, b"")
    assert (await api.call("FROB", MAPS)).status == 405
    assert (await api.call("POST", "/nowhere")).status == 404


async def test_api_74_health_version_and_documents(api: Api) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert (await api.get(path)).raw == b"ok"
        verbose = await api.get(path + "?verbose")
        assert verbose.raw.startswith(b"[+]ping ok\n")
        assert verbose.raw.endswith(f"{path[1:]} check passed\n".encode())
    assert (await api.get("/version")).body["major"] == "1"
    assert (await api.call("HEAD", "/healthz")).status == 200
    for path in ("/openapi/v2", "/openapi/v3/api/v1"):
        first = await api.get(path)
        again = await api.get(path, **{"If-None-Match": first.headers["ETag"]})
        assert (first.status, again.status, again.raw) == (200, 304, b"")


async def test_api_75_the_audit_id_is_echoed_or_made(api: Api) -> None:
    assert (await api.get(MAPS, **{"Audit-ID": "mine-1"})).headers["Audit-ID"] == "mine-1"
    made = {(await api.get(path)).headers["Audit-ID"] for path in (MAPS, MAPS, "/nowhere", "/healthz")}
    assert len(made) == 4
    assert (await api.get(MAPS + "/none", **{"Audit-ID": "mine-2"})).headers["Audit-ID"] == "mine-2"
    assert len((await api.get(MAPS, **{"Audit-ID": "x" * 5000})).headers["Audit-ID"]) == 64


async def test_api_77_large_answers_are_packed_for_those_who_take_it(api: Api) -> None:
    await api.post(MAPS, config_map("large", "x" * 200_000))
    await api.post(MAPS, config_map("small"))
    for path in (MAPS, MAPS + "/large", "/openapi/v2"):
        plain = await raw_get(api, path, "identity")
        assert "Content-Encoding" not in plain.headers
        for accepted in ("gzip", "deflate, gzip;q=0.5", "*"):
            packed = await raw_get(api, path, accepted)
            assert packed.headers["Content-Encoding"] == "gzip"
            assert "Accept-Encoding" in ", ".join(packed.headers.getall("Vary"))
            assert gzip.decompress(packed.raw) == plain.raw
        for refused in ("gzip;q=0", "gzip; q=0.000", "br", ""):
            assert (await raw_get(api, path, refused)).raw == plain.raw
    assert "Content-Encoding" not in (await raw_get(api, MAPS + "/small", "gzip")).headers


async def test_api_77_many_requests_on_one_connection(api: Api) -> None:
    reader, writer = await asyncio.open_connection(*address(api), ssl=api.tls)
    writer.write(f"GET {MAPS} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 20)
    for _ in range(20):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        size = next(int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: "))
        await reader.readexactly(size)
    writer.close()


async def test_api_78_segments_and_types_are_not_guessed(api: Api) -> None:
    """SEC-27."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    await api.post("/api/v1/namespaces/default/secrets", secret)
    for tail in ("..", ".", "%2e%2e", "a%2fb", "..%2fsecrets%2fs", "a%25b", "a%00b", "../secrets/s", "%2e%2e/secrets/s", "/secrets/s"):
        answer = await api.get(f"{MAPS}/{tail}")
        assert (answer.status, answer.body["reason"]) in ((400, "BadRequest"), (404, "NotFound")), tail
    for path in ("/version/../api/v1/secrets", "/healthz/%2e%2e/api/v1/secrets", "/healthz%2f..%2fapi%2fv1%2fsecrets"):
        assert (await api.get(path)).status in (400, 404)
    for path in (MAPS, MAPS + "/none", "/healthz", "/nowhere"):
        assert (await api.get(path)).headers["X-Content-Type-Options"] == "nosniff"


def address(api: Api) -> tuple[str, int]:
    host, _, port = api.server.address.removeprefix("https://").rpartition(":")
    return host, int(port)


async def raw_get(api: Api, path: str, accepted: str) -> Answer:
    """With the body as it came over the wire."""
    reader, writer = await asyncio.open_connection(*address(api), ssl=api.tls)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: {accepted}\r\n\r\n".encode())
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    lines = head.decode().split("\r\n")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
    return Answer(int(lines[0].split()[1]), CIMultiDictProxy(CIMultiDict(fields)), body)


async def allow_everything(api: Api, user: str) -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }  # fmt: skip
    answer = await api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    assert answer.status == 201, answer.raw
