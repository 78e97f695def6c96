"""SEC-1 to SEC-4: proxies and streams reach what they are for, and nothing else, with nobody else's credentials."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from holdfast.lib import pki
from tests.conformance.security.nodes import Recorder, register, stream_server
from tests.serving import Api, api_server

pytestmark = pytest.mark.asyncio
NAMESPACE = "/api/v1/namespaces/default"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """With a node n, on which pod p runs."""
    async with api_server(tmp_path / "data", pod_security="privileged") as served, stream_server(served, "n", tmp_path) as node:
        await register(served, "n", node.port)
        await _until(served, f"{NAMESPACE}/serviceaccounts/default")
        await _pod(served)
        yield served


async def _until(api: Api, path: str) -> None:
    async with asyncio.timeout(10):
        while (await api.get(path)).status != 200:
            pass


async def _pod(api: Api, name: str = "p", **spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "p"}}}
    answer = await api.post(
        f"{NAMESPACE}/pods", body | {"spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}], **spec}}
    )
    assert answer.status == 201, answer.raw
    made: dict[str, Any] = answer.body
    return made


async def _echo(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade") == "websocket":
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"heard {message.data}")
        return socket
    if request.path == "/away":
        return web.Response(status=302, headers={"Location": "/elsewhere?x=1"})
    said = {
        "method": request.method,
        "path": request.raw_path,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": (await request.read()).decode(),
    }
    return web.json_response(said, status=418 if request.path == "/teapot" else 200, headers={"X-Own": "1"})


@contextlib.asynccontextmanager
async def _backend(tls: Any = None) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", _echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_sec_1_every_method_goes_to_the_pod_without_the_callers_credentials(api: Api) -> None:
    async with _backend() as port:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            sent = {"X-Mine": "1", "Cookie": "a=b", "Impersonate-User": "admin", "Impersonate-Group": "system:masters"}
            body = "x" * 100_000 if method in ("POST", "PUT", "PATCH") else None
            answer = await api.call(method, f"{NAMESPACE}/pods/p:{port}/proxy/a%20b/c//d?x=1&y=%2F", body, sent)
            assert answer.status == 200, answer.raw
            heard = json.loads(answer.raw)
            assert (heard["method"], heard["path"], heard["body"]) == (method, "/a%20b/c//d?x=1&y=%2F", body or "")
            assert (heard["headers"]["x-mine"], heard["headers"]["cookie"]) == ("1", "a=b")
            assert heard["headers"]["host"] == f"p:{port}"
            assert not [name for name in heard["headers"] if name.startswith(("authorization", "impersonate", "x-remote"))]
            assert answer.headers["X-Own"] == "1"
            assert "Audit-ID" in answer.headers
        teapot = await api.call("GET", f"{NAMESPACE}/pods/http:p:{port}/proxy/teapot")
        assert teapot.status == 418


async def test_sec_1_a_token_stays_with_the_server(api: Api) -> None:
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await api.post(f"{NAMESPACE}/serviceaccounts/default/token", asked)).body["status"]["token"]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}}
    rules = [{"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}]
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    assert (await api.post(f"{roles}/roles", role | {"rules": rules})).status == 201
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    binding = {
        "apiVersion": role["apiVersion"],
        "kind": "RoleBinding",
        "metadata": {"name": "r"},
        "roleRef": reference,
        "subjects": [subject],
    }
    assert (await api.post(f"{roles}/rolebindings", binding)).status == 201
    async with _backend() as port:
        heard = await api.with_token(token).get(f"{NAMESPACE}/pods/p:{port}/proxy/")
        assert heard.status == 200, heard.raw
        assert token not in heard.raw.decode()
        assert (await api.with_token(token).post(f"{NAMESPACE}/pods/p:{port}/proxy/", "")).status == 403


async def test_sec_1_a_refused_upgrade_leaves_no_connection_behind(api: Api) -> None:
    """What is pipelined behind an upgrade that was not granted reaches nobody: neither a pod nor a node (CVE-2018-1002105)."""
    for path in ("pods/p:{port}/proxy/first", "pods/p/exec?command=ls&stdout=1"):
        async with Recorder(OK).listening() as pod:
            reader, writer = await asyncio.open_connection(*_address(api), ssl=api.tls, server_hostname="localhost")
            head = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            first = f"GET {NAMESPACE}/{path.format(port=pod.port)} HTTP/1.1\r\n{head}"
            second = "GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
            writer.write((first + second).encode())
            async with asyncio.timeout(5):
                answer = await reader.read()  # to the end: the server closes
            assert answer.count(b"HTTP/1.1") == 1
            assert b"connection: close" in answer.lower()
            assert not any(b"/second" in heard for heard in pod.heard)
            writer.close()


def _address(api: Api) -> tuple[str, int]:
    host, _, port = api.server.address.removeprefix("https://").rpartition(":")
    return host, int(port)


async def test_sec_1_an_upgrade_is_a_way_both_ways(api: Api) -> None:
    async with _backend() as port, aiohttp.ClientSession() as session:
        url = f"{api.server.address}{NAMESPACE}/pods/p:{port}/proxy/socket"
        async with session.ws_connect(url, ssl=api.tls) as socket:
            await socket.send_str("word")
            assert (await socket.receive_str(timeout=5)) == "heard word"


async def test_sec_2_redirects_are_the_clients_to_follow(api: Api) -> None:
    async with _backend() as port, aiohttp.ClientSession() as session:
        where = f"{NAMESPACE}/pods/p:{port}/proxy"
        async with session.get(f"{api.server.address}{where}/away", ssl=api.tls, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, f"{where}/elsewhere?x=1")
        async with session.get(f"{api.server.address}{where}?x=1", ssl=api.tls, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (301, f"{where}/?x=1")


async def test_sec_2_a_node_that_redirects_a_stream_is_not_followed(api: Api, tmp_path: Path) -> None:
    async with Recorder(OK).listening() as elsewhere:
        location = f"Location: http://127.0.0.1:{elsewhere.port}/\r\n".encode()
        redirect = b"HTTP/1.1 302 Found\r\n" + location + b"Content-Length: 0\r\n\r\n"
        credential = pki.issue_server(api.server.keys.ca, "system:node:m", ["127.0.0.1"])
        tls = pki.server_context(credential, api.server.keys.ca.certificate, tmp_path)
        async with Recorder(redirect).listening(tls) as node:
            await register(api, "m", node.port)
            await _pod(api, "q", nodeName="m")
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
            answer = await api.call("GET", f"{NAMESPACE}/pods/q/exec?command=ls&stdout=1", None, upgrade)
            assert (answer.status, answer.body["message"]) == (500, "the node answered with a redirect (302), which is not followed")
            assert (await api.get(f"{NAMESPACE}/pods/q/log")).status == 500
            assert (await api.get(f"{NAMESPACE}/pods/q:80/proxy/")).status == 503
        assert elsewhere.heard == []


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "::ffff:169.254.169.254", "localhost"])
async def test_sec_3_addresses_that_are_no_nodes_are_not_dialled(api: Api, address: str) -> None:
    await register(api, "m", 10250, address)
    await _pod(api, "q", nodeName="m")
    for path in (f"{NAMESPACE}/pods/q/log", f"{NAMESPACE}/pods/q:80/proxy/", "/api/v1/nodes/m/proxy/healthz"):
        answer = await api.get(path)
        assert (answer.status, answer.body["message"]) == (400, "address not allowed")


async def test_sec_3_nobody_else_is_talked_to_as_a_node(api: Api, tmp_path: Path) -> None:
    """A Node whose address is the API server's own, another node's, or a stranger's: the certificate tells, before a byte is sent."""
    keys = api.server.keys
    _, own_port = _address(api)
    other = pki.server_context(pki.issue_server(keys.ca, "system:node:other", ["127.0.0.1"]), keys.ca.certificate, tmp_path)
    stranger_ca = pki.create_ca("stranger")
    stranger = pki.server_context(pki.issue_server(stranger_ca, "system:node:m", ["127.0.0.1"]), stranger_ca.certificate, tmp_path)
    async with Recorder(OK).listening(other) as node, Recorder(OK).listening(stranger) as foreign, Recorder(OK).listening() as plain:
        for port in (own_port, node.port, foreign.port, plain.port):
            await register(api, "m", port)
            answer = await api.get("/api/v1/nodes/m/proxy/api/v1/secrets")
            assert answer.status == 500, answer.raw
            assert answer.body["message"].startswith("error dialing backend: ")
        assert not any(b"GET" in heard for listener in (node, foreign, plain) for heard in listener.heard)


async def test_sec_3_a_client_chooses_neither_address_nor_port_of_a_node(api: Api) -> None:
    assert (await api.get("/api/v1/nodes/n/proxy/healthz")).raw == b"ok"
    _, own_port = _address(api)
    for name in (f"n:{own_port}", "n:22", f"https:n:{own_port}"):
        answer = await api.get(f"/api/v1/nodes/{name}/proxy/healthz")
        assert (answer.status, answer.body["message"]) == (400, "address not allowed")
    assert (await api.get("/api/v1/nodes/127.0.0.1/proxy/healthz")).status == 404
    for name in ("a:b:c:d", "ftp:n:1", ":1", "http::1"):
        assert (await api.get(f"/api/v1/nodes/{name}/proxy/healthz")).body["message"] == f'invalid node request "{name}"'
    for path in ("..", "a/../../b", "%2e%2e/b", "."):
        async with api.open("GET", f"/api/v1/nodes/n/proxy/{path}") as answer:
            assert answer.status in (400, 404)


async def test_sec_3_endpoints_that_are_no_pods_are_not_served(api: Api) -> None:
    """Whoever may write Endpoints may write any address: the control plane's, the metadata service's."""
    async with Recorder(OK).listening() as listener:
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
        assert (await api.post(f"{NAMESPACE}/services", service)).status == 201
        for address in ({"ip": "10.0.0.1"}, {"ip": "10.0.0.1", "targetRef": {"kind": "Pod", "name": "p", "uid": "another"}}):
            subsets = [{"addresses": [address], "ports": [{"port": listener.port}]}]
            body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "s"}, "subsets": subsets}
            assert (await api.put(f"{NAMESPACE}/endpoints/s", body)).status in (200, 201)
            answer = await api.get(f"{NAMESPACE}/services/s/proxy/")
            assert (answer.status, answer.body["message"]) == (503, 'no endpoints available for service "s"')
        assert listener.heard == []
    assert (await api.get("/api/v1/namespaces/default/services/https:kubernetes:443/proxy/api")).status == 503


async def test_sec_4_names_are_never_resolved(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to rebind: what is dialled is an IP address, and the same one that was looked at."""
    asked: list[Any] = []
    resolve = asyncio.get_running_loop().getaddrinfo

    async def listening(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return await resolve(host, *rest, **more)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", listening, raising=False)
    await register(api, "m", 10250, "metadata.internal")
    await _pod(api, "q", nodeName="m")
    assert (await api.get(f"{NAMESPACE}/pods/q/log")).status == 400
    assert (await api.get("/api/v1/nodes/m/proxy/healthz")).status == 400
    assert not [host for host in asked if host not in ("127.0.0.1", "localhost")]


async def test_a_service_is_one_of_its_ready_pods(api: Api) -> None:
    async with _backend() as port:
        spec = {"selector": {"app": "p"}, "ports": [{"name": "web", "port": 80, "targetPort": port}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}
        assert (await api.post(f"{NAMESPACE}/services", service)).status == 201
        assert (await api.get(f"{NAMESPACE}/services/s:web/proxy/x")).status == 503
        status = {"phase": "Running", "podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]}
        ready = {"status": status | {"conditions": [{"type": "Ready", "status": "True"}]}}
        assert (await api.patch(f"{NAMESPACE}/pods/p/status", ready)).status == 200
        async with asyncio.timeout(10):
            while (answer := await api.get(f"{NAMESPACE}/services/s:web/proxy/x")).status != 200:
                pass
        assert json.loads(answer.raw)["path"] == "/x"
        assert (await api.get(f"{NAMESPACE}/services/http:s:80/proxy/x")).status == 200
        answer = await api.get(f"{NAMESPACE}/services/s:81/proxy/x")
        assert (answer.status, answer.body["message"]) == (503, 'no service port 81 found for service "s"')
        assert (await api.get(f"{NAMESPACE}/services/none/proxy/x")).status == 404
        assert (await api.get(f"{NAMESPACE}/services/s:other/proxy/x")).status == 503


async def test_a_pod_may_speak_tls(api: Api, tmp_path: Path) -> None:
    ca = pki.create_ca("own")
    tls = pki.server_context(pki.issue_server(ca, "app", ["app"]), ca.certificate, tmp_path)
    async with _backend(tls) as port:
        answer = await api.get(f"{NAMESPACE}/pods/https:p:{port}/proxy/x")
        assert (answer.status, json.loads(answer.raw)["path"]) == (200, "/x")
        plain = await api.get(f"{NAMESPACE}/pods/p:{port}/proxy/x")
        assert plain.status in (400, 503)


async def test_what_cannot_be_reached_is_said_in_words(api: Api) -> None:
    async with Recorder(OK).listening() as listener:
        port = listener.port
    answer = await api.get(f"{NAMESPACE}/pods/p:{port}/proxy/")
    text = f"error trying to reach service: dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (503, "ServiceUnavailable", text)
    for broken in (
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
    ):
        async with Recorder(broken).listening() as listener:
            with contextlib.suppress(aiohttp.ClientError):
                assert (await api.get(f"{NAMESPACE}/pods/p:{listener.port}/proxy/")).status == 503
    assert (await api.get(f"{NAMESPACE}/pods/p:http/proxy/")).status == 400
    assert (await api.get(f"{NAMESPACE}/pods/none/proxy/")).status == 404
    assert (await api.get(f"{NAMESPACE}/configmaps/none/proxy/x")).status == 404
    await _pod(api, "u", nodeName="", schedulerName="nobody")
    assert (await api.get(f"{NAMESPACE}/pods/u/proxy/")).body["message"] == "pod u does not have a host assigned"


@pytest.mark.parametrize("what", ["namespaces/default/pods/p:1", "namespaces/default/services/s", "nodes/n"])
async def test_each_proxy_is_a_permission_of_its_own(api: Api, what: str) -> None:
    plural, name = what.split("/")[-2:]
    for method, verb in {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.items():
        answer = await api.as_user("nobody").call(method, f"/api/v1/{what}/proxy/x", None)
        assert answer.status == 403
        if method != "HEAD":
            assert f'User "nobody" cannot {verb} resource "{plural}/proxy" in API group ""' in answer.body["message"]
            assert answer.body["details"]["name"] == name


async def test_reading_a_node_is_not_running_commands_on_it(api: Api) -> None:
    """A kubelet takes exec by GET, too: who may only get nodes/proxy does not get a stream."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}}
    rules = [{"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]}]
    root = "/apis/rbac.authorization.k8s.io/v1"
    assert (await api.post(f"{root}/clusterroles", role | {"rules": rules})).status == 201
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}
    binding = {"apiVersion": role["apiVersion"], "kind": "ClusterRoleBinding", "metadata": {"name": "r"}, "roleRef": reference}
    assert (await api.post(f"{root}/clusterrolebindings", binding | {"subjects": [subject]})).status == 201
    reader = api.as_user("reader")
    assert (await reader.get("/api/v1/nodes/n/proxy/healthz")).raw == b"ok"
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    answer = await reader.call("GET", "/api/v1/nodes/n/proxy/exec/default/p/c?command=id&output=1", None, upgrade)
    assert answer.status == 403
    assert 'cannot create resource "nodes/proxy"' in answer.body["message"]
