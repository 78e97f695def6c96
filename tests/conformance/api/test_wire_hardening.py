"""SEC-32 to SEC-39 and SEC-43 from outside: what hostile clients send is refused quickly, in words, and does no harm."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.machinery import names, quantity, selectors
from holdfast.machinery.errors import ApiError
from holdfast.node.images import names as image_names
from holdfast.server.deadlines import duration
from holdfast.server.gate import Limits
from tests.serving import Answer, Api, api_server

MAPS = "/api/v1/namespaces/default/configmaps"
REVISIONS = "/apis/apps/v1/namespaces/default/controllerrevisions"
APPLY, YAML, JSON_PATCH = "application/apply-patch+yaml", "application/yaml", "application/json-patch+json"
SECONDS = 2.0
"""No request may keep the server busy for longer."""


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


async def send(api: Api, method: str, path: str, body: Any, kind: str) -> Answer:
    begun = time.process_time()
    answer = await api.call(method, path, body, {"Content-Type": kind})
    assert time.process_time() - begun < SECONDS, (path, str(body)[:40])
    assert answer.status < 500, answer.raw[:300]
    if answer.status >= 400:
        assert answer.body["kind"] == "Status"
    return answer


def yaml_map(data: str) -> bytes:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: y}}\ndata:\n{data}".encode()


async def test_sec_32_yaml_aliases_are_refused_on_every_way_in(api: Api) -> None:
    bomb = "  a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"  {b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for method, path, kind in (
        ("POST", MAPS, YAML), ("PUT", MAPS + "/y", YAML), ("PATCH", MAPS + "/y?fieldManager=m", APPLY), ("DELETE", MAPS + "/y", YAML),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", YAML),
    ):  # fmt: skip
        answer = await send(api, method, path, yaml_map(bomb), kind)
        assert (answer.status, answer.body["message"]) == (400, "YAML aliases are not accepted")
    assert (await api.post(MAPS, yaml_map("  a: '1'\n"), **{"Content-Type": YAML})).status == 201


async def test_sec_33_yaml_that_is_slow_to_read_is_bounded(api: Api) -> None:
    mega = 1 << 20
    for text in (
        b"[" * mega,
        b"{" * mega,
        b"- " * mega,
        b"? " * mega,
        b"{a: " * (mega // 4),
        b"[" + b"a," * mega + b"]",
        b"- a\n" * (mega // 2),
        b"<<: [" + b"{a: b}," * (mega // 8) + b"]",
        b"a: " + b"1:" * mega,
        b"a: 0x" + b"f" * mega,
        b"a: " + b"9" * mega,
        b"---\n" * (mega // 4),
        b"!" * mega,
        b"&a " * (mega // 3),
        b'"' + b"a\n\n" * (mega // 3) + b'"',
        b"a: |\n" + b"  x\n" * (mega // 4),
        b"#" * mega,
        b"\n" * mega,
    ):
        answer = await send(api, "PATCH", MAPS + "/y?fieldManager=m", text, APPLY)
        assert answer.status == 400, text[:20]


async def test_sec_34_json_that_is_none_or_too_deep_is_refused(api: Api) -> None:
    head = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"j"},"data":'
    for value in (
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"[" * 1_000_000, b"9" * 5000, b"NaN", b"Infinity", b"-Infinity", b"1e309",
        b'{"a":"\\ud800"}', b'{"a":"\xff"}', b'{"a":"\x00"}', b"{'a':1}", b'{"a":01}', b'{"a":1,}', b"tru", b'{"a":"', b"[]" * 500_000,
    ):  # fmt: skip
        answer = await send(api, "POST", MAPS, head + value + b"}", "application/json")
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest"), value[:20]
    whole = head + b'{"a":"1"}}'
    for text in (b"\xef\xbb\xbf" + whole, whole.decode().encode("utf-16"), whole + b"}", whole + whole, b"null", b"[]", b'"x"', b"1"):
        assert (await send(api, "POST", MAPS, text, "application/json")).status in (400, 422), text[:20]
    doubled = head + b'{"a":"1","a":"2"}}'
    answer = await send(api, "POST", MAPS + "?fieldValidation=Strict", doubled, "application/json")
    assert 'duplicate field "data.a"' in answer.body["message"]
    many = head + b'{"a":{' + b'"x":1,"x":2,' * 100_000 + b'"y":1}}}'
    assert (await send(api, "POST", MAPS + "?fieldValidation=Strict", many, "application/json")).status == 400
    assert (await api.get(MAPS + "/j")).status == 404


async def test_sec_34_the_deepest_body_that_is_read_can_be_stored_and_shown(api: Api) -> None:
    for depth in (100, 200, 245, 248, 249, 250):
        inner = b'{"a":' * (depth - 1) + b"1" + b"}" * (depth - 1)
        body = b'{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"d%d"},"revision":1,"data":%b}' % (depth, inner)
        created = await send(api, "POST", REVISIONS, body, "application/json")
        assert created.status in (201, 400), created.raw[:200]
        if created.status == 201:
            path = f"{REVISIONS}/d{depth}"
            table = "application/json;as=Table;v=v1;g=meta.k8s.io"
            assert (await api.get(path + "?includeObject=Object", Accept=table)).status == 200
            assert (await api.get(REVISIONS)).status == 200
            assert (await send(api, "PATCH", path, b'{"metadata":{"labels":{"a":"b"}}}', "application/merge-patch+json")).status == 200
            assert (await send(api, "DELETE", path, None, "application/json")).status == 200


async def test_sec_35_patches_that_grow_are_refused(api: Api) -> None:
    await api.post(MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"a": "x" * 1000}})
    path = MAPS + "/p"
    test = {"op": "test", "path": "/kind", "value": "ConfigMap"}
    answer = await api.patch(path, [test] * 10_001, JSON_PATCH)
    text = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (413, "RequestEntityTooLarge", text)
    doubling = [{"op": "copy", "from": "", "path": f"/x{n}"} for n in range(40)]
    answer = await send(api, "PATCH", path, doubling, JSON_PATCH)
    assert (answer.status, answer.body["reason"]) == (413, "RequestEntityTooLarge")
    nested: Any = 1
    for _ in range(240):
        nested = {"a": nested}
    deeper = [{"op": "add", "path": "/data" + "/a" * (240 * n), "value": nested} for n in range(20)]
    assert (await send(api, "PATCH", path, deeper, JSON_PATCH)).status == 422
    for wrong in ("/" + "9" * 5000, "/-1", "/٣", "/-"):
        assert (
            await send(api, "PATCH", path, [{"op": "test", "path": "/metadata/managedFields" + wrong, "value": 1}], JSON_PATCH)
        ).status == 422
    large = [{"op": "add", "path": "/data/list", "value": [[1]] * 100_000}]
    shuffle = [{"op": "move", "from": f"/data/{a}", "path": f"/data/{b}"} for a, b in (("list", "o"), ("o", "list")) * 4000]
    assert (await send(api, "PATCH", path, large + shuffle, JSON_PATCH)).status == 422
    assert (await send(api, "PATCH", path, [test] * 10_000, JSON_PATCH)).status == 200


async def test_sec_36_huge_queries_and_selectors_are_bounded(api: Api) -> None:
    for query in (
        "limit=" + "9" * 5000,
        "limit=9223372036854775808",
        "limit=-1",
        "continue=" + "A" * 100_000,
        "resourceVersion=" + "9" * 5000,
        "labelSelector=" + "a%20in%20(" + "b," * 50_000 + "c)",
        "labelSelector=" + "a,!a," * 20_000 + "a",
        "labelSelector=" + "(" * 100_000,
        "labelSelector=" + "%20" * 60_000 + "(",
        "fieldSelector=" + "metadata.name=a," * 10_000,
        "fieldSelector=" + "=" * 100_000,
        "&".join(f"a{n}=1" for n in range(20_000)),
        "=&" * 50_000,
        "%" * 50_000,
        "timeoutSeconds=" + "9" * 5000 + "&watch=1&labelSelector=!!",
    ):
        await send(api, "GET", f"{MAPS}?{query}", None, "application/json")
    # Names that clients choose make no new series in what is measured.
    before = (await api.get("/metrics")).raw.count(b"\n")
    for name in ("x1", "x2", "x3"):
        await api.call(name.upper(), MAPS + f"/{name}?labelSelector={name}", headers={"User-Agent": name})
    assert (await api.get("/metrics")).raw.count(b"\n") == before


def test_sec_37_no_pattern_of_the_server_takes_long_over_any_text() -> None:
    corpus = []
    for piece in (" ", "a", "-", ".", "/", "0", "a.", "a-", "=", "!", "(", ",", '"', '\\"', "a,", "_", "[0]"):
        text = piece * (100_000 // len(piece))
        corpus += [text, text + "!", "a" + text + "!", f" {text}(", f'"{text}']
    parsers = (
        selectors.parse_label_selector,
        selectors.parse_field_selector,
        quantity.parse,
        names.dns1123_subdomain,
        names.dns1123_label,
    )
    for text in corpus:
        for parse in (*parsers, names.qualified_name, names.label_value, image_names.normalise, duration):
            begun = time.process_time()
            with contextlib.suppress(ApiError, ValueError):
                parse(text)
            assert time.process_time() - begun < SECONDS, (parse, text[:10])


async def test_sec_37_yaml_tags_make_nothing_run(api: Api, tmp_path) -> None:
    mark = tmp_path / "ran"
    for tag in (
        f"!!python/object/apply:os.system ['touch {mark}']",
        f"!!python/object/new:os.system ['touch {mark}']",
        "!!python/name:os.system",
        "!!python/module:os",
        f"!!python/object/apply:subprocess.Popen [[touch, {mark}]]",
        "!ruby/object:Gem {}",
        "!!binary x",
        "!!set {a}",
        "!!int ''",
        "!!bool maybe",
        "!!float x",
        "!!omap [1]",
        "!!timestamp x",
        "!!null [a]",
        ".nan",
        "=",
    ):
        answer = await send(api, "POST", MAPS, yaml_map(f"  a: {tag}\n"), YAML)
        assert answer.status in (400, 201), tag
        assert answer.status == 400 or "!!binary" in tag or "!!timestamp" in tag, tag
        await api.delete(MAPS + "/y")
    assert not mark.exists()


CLOSED = b"<closed>"


async def raw(api: Api, data: bytes) -> bytes:
    """What the server says to these bytes, until it closes or is silent for a moment."""
    host, _, port = api.server.address.removeprefix("https://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=api.tls)
    writer.write(data)
    said = bytearray()
    try:
        async with asyncio.timeout(0.3):
            while chunk := await reader.read(1 << 16):
                said += chunk
            said += CLOSED
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return bytes(said)


SMUGGLED = b"DELETE /api/v1/namespaces/default/configmaps/victim HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_sec_38_no_request_hides_behind_another(api: Api) -> None:
    await api.post(MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "victim"}})
    get = b"GET /version HTTP/1.1\r\nHost: x\r\n"
    chunked = b"0\r\n\r\n" + SMUGGLED
    for fields in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5,5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: " + b"9" * 30 + b"\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        b"X: y\r\n Content-Length: 5\r\n",
        b"X\x00: y\r\n",
        b"X: a\x00b\r\n",
        b"X: a\rContent-Length: 5\r\n",
        b": y\r\n",
        b"\x0bContent-Length: 5\r\n",
    ):
        said = await raw(api, get + fields + b"\r\n" + chunked)
        assert said.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ")), (fields, said[:200])
        assert said.count(b"HTTP/1.") == 1, fields
        assert said.endswith(b'"code":400}' + CLOSED), fields
    assert (await api.get(MAPS + "/victim")).status == 200
    for line in (
        b"GET /version HTTP/9.9\r\n",
        b"\x16\x03\x01\x00",
        b"GET /a b HTTP/1.1\r\n",
        b"GET /\x00 HTTP/1.1\r\n",
    ):
        said = await raw(api, line + b"Host: x\r\n\r\n" + SMUGGLED)
        assert said.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4")), line
        assert said.count(b"HTTP/1.") == 1, line
        assert said.endswith(CLOSED), line
    assert (await api.get(MAPS + "/victim")).status == 200


async def test_sec_38_heads_are_bounded_in_size_and_time(tmp_path) -> None:
    async with api_server(tmp_path, limits=Limits(head_seconds=0.2)) as api:
        assert (await raw(api, b"GET /" + b"a" * (1 << 19) + b" HTTP/1.1\r\n\r\n")).split()[1] in (b"431", b"400")
        assert (await raw(api, b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 19) + b"\r\n\r\n")).split()[1] in (b"431", b"400")
        many = b"".join(b"X%d: y\r\n" % n for n in range(5000))
        assert (await raw(api, b"GET / HTTP/1.1\r\n" + many + b"\r\n")).split()[1] in (b"431", b"400")
        host, _, port = api.server.address.removeprefix("https://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=api.tls)
        writer.write(b"GET /version HTTP/1.1\r\nX: ")
        assert await asyncio.wait_for(reader.read(), 5) == b""  # the head never ended
        writer.close()
        reader, writer = await asyncio.open_connection(host, int(port), ssl=api.tls)
        assert await asyncio.wait_for(reader.read(), 5) == b""  # nothing came at all
        writer.close()


async def test_sec_39_bodies_are_never_inflated(api: Api) -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x"):
        answer = await api.post(MAPS, bomb, **{"Content-Type": "application/json", "Content-Encoding": coding})
        assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"plain"}}'
    assert (await api.post(MAPS, body, **{"Content-Type": "application/json", "Content-Encoding": "identity"})).status == 201


async def test_sec_43_watches_of_one_user_are_capped_and_others_go_on(tmp_path) -> None:
    async with api_server(tmp_path, limits=Limits(streams=3)) as admin:
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "view"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"} for name in ("one", "two")],
        }  # fmt: skip
        await admin.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        one, two = admin.as_user("one"), admin.as_user("two")
        watch = MAPS + "?watch=1"
        async with one.open("GET", watch), one.open("GET", watch), one.open("GET", watch):
            refused = await one.get(watch)
            assert (refused.status, refused.body["reason"], refused.headers["Retry-After"]) == (429, "TooManyRequests", "1")
            assert (await one.get(MAPS)).status == 200
            async with two.open("GET", watch) as other, admin.open("GET", watch) as own:
                assert (other.status, own.status) == (200, 200)
        while "gate_streams 0" not in (await admin.get("/metrics")).body:
            pass
        async with one.open("GET", watch) as again:
            assert again.status == 200
