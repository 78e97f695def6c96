"""Who is believed: service-account tokens, client certificates, and streams that end with them (SEC-29, SEC-30, SEC-31)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.lib import pki
from holdfast.lib.clock import SystemClock
from holdfast.registry.claims import AUDIENCE, TokenClaims
from tests.conformance.security.objects import binding, named, pod, role, rule
from tests.serving import STORES, Api, api_server

NS = "/api/v1/namespaces/default"
WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = named("SelfSubjectReview", "", "authentication.k8s.io/v1")
ROLES, BINDINGS = (f"/apis/rbac.authorization.k8s.io/v1/namespaces/default/{plural}" for plural in ("roles", "rolebindings"))


@pytest.fixture(params=STORES)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path, request.param) as served:
        yield served


async def token(api: Api, account: str = "default", **spec: Any) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    made = await api.post(f"{NS}/serviceaccounts/{account}/token", body)
    assert made.status == 201, made.raw
    return str(made.body["status"]["token"])


def bound_to(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = obj["metadata"]
    return {"boundObjectRef": {"kind": obj["kind"], "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}}


async def status(api: Api, credential: str) -> int:
    return (await api.with_token(credential).post(WHOAMI, REVIEW)).status


async def reviewed(api: Api, credential: str, *audiences: str) -> dict[str, Any]:
    body = named("TokenReview", "", "authentication.k8s.io/v1", spec={"token": credential, "audiences": list(audiences)})
    return (await api.post("/apis/authentication.k8s.io/v1/tokenreviews", body)).body["status"]  # type: ignore[no-any-return]


async def test_sec_30_a_token_ends_with_the_pod_it_is_bound_to(api: Api) -> None:
    first = (await api.post(f"{NS}/pods", pod("p", "n"))).body
    credential = await token(api, **bound_to(first))
    seen = (await api.with_token(credential).post(WHOAMI, REVIEW)).body["status"]["userInfo"]
    assert seen["extra"]["authentication.kubernetes.io/pod-uid"] == [first["metadata"]["uid"]]
    assert seen["extra"]["authentication.kubernetes.io/node-name"] == ["n"]
    await api.delete(f"{NS}/pods/p", {"gracePeriodSeconds": 0})
    assert await status(api, credential) == 401
    await api.post(f"{NS}/pods", pod("p", "n"))
    assert await status(api, credential) == 401
    assert (await reviewed(api, credential))["error"] == "[invalid bearer token, service account token has been invalidated]"


async def test_sec_30_a_token_ends_with_its_account_secret_and_node(api: Api) -> None:
    await api.post(f"{NS}/serviceaccounts", named("ServiceAccount", "a"))
    secret = (await api.post(f"{NS}/secrets", named("Secret", "s"))).body
    node = (await api.post("/api/v1/nodes", named("Node", "n"))).body
    plain, by_secret, by_node = await token(api, "a"), await token(api, **bound_to(secret)), await token(api, **bound_to(node))
    for credential, path in ((by_secret, f"{NS}/secrets/s"), (by_node, "/api/v1/nodes/n"), (plain, f"{NS}/serviceaccounts/a")):
        assert await status(api, credential) == 201
        await api.delete(path)
        assert await status(api, credential) == 401
    await api.post(f"{NS}/serviceaccounts", named("ServiceAccount", "a"))
    assert await status(api, plain) == 401


async def test_sec_30_audience_time_and_algorithm(api: Api) -> None:
    other = await token(api, audiences=["a.example"])
    assert await status(api, other) == 401
    assert (await reviewed(api, other, "a.example"))["audiences"] == ["a.example"]
    wanted = f'[invalid bearer token, token audiences ["a.example"] is invalid for the target audiences ["{AUDIENCE}"]]'
    assert (await reviewed(api, other))["error"] == wanted
    account = (await api.get(f"{NS}/serviceaccounts/default")).body["metadata"]["uid"]
    assert api.registry.issue_token is not None
    late, _ = api.registry.issue_token(TokenClaims("default", "default", account, (AUDIENCE,), -5))
    assert await status(api, late) == 401
    assert (await reviewed(api, late))["error"] == "[invalid bearer token, service account token has expired]"
    good = await token(api)
    claims = jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    foreign = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers=jwt.get_unverified_header(good))
    none = jwt.encode(claims, None, "none")
    public = serialization.load_pem_private_key(api.server.keys.token_key, None).public_key()
    shown = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    by_public = jwt.api_jws.PyJWS(algorithms=["HS256"])
    hmac = by_public.get_algorithm_by_name("HS256")
    signing = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}') + b"." + body.encode()
    confused = (signing + b"." + jwt.utils.base64url_encode(hmac.sign(signing, shown))).decode()
    for wrong in (foreign, none, confused, f"{head}.{body}.", f"{head}.{body}.{signature[:-4]}AAAA", "", "x.y.z"):
        answer = await api.with_token(wrong).post(WHOAMI, REVIEW)
        assert answer.status == 401, wrong
    assert await status(api, good) == 201


async def test_sec_30_the_published_key_verifies_tokens(api: Api) -> None:
    keys = (await api.get("/openid/v1/jwks", Accept="application/jwk-set+json")).body["keys"]
    assert [(key["alg"], key["use"], "d" in key) for key in keys] == [("ES256", "sig", False)]
    claims = jwt.decode(await token(api), jwt.PyJWK(keys[0]).key, ["ES256"], audience=AUDIENCE)
    assert claims["sub"] == "system:serviceaccount:default:default"
    described = (await api.get("/.well-known/openid-configuration")).body
    assert described["issuer"] == claims["iss"]


async def test_sec_29_and_30_a_watch_ends_with_its_token(api: Api) -> None:
    await api.post(ROLES, role("r", rule("get list watch", "configmaps")))
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    await api.post(BINDINGS, {**binding("b", "r"), "subjects": [subject]})
    made = (await api.post(f"{NS}/pods", pod("p", "n"))).body
    holder = api.with_token(await token(api, **bound_to(made)))
    async with asyncio.timeout(10), holder.open("GET", f"{NS}/configmaps?watch=1") as events:
        assert events.status == 200
        assert b"kube-root-ca.crt" in await events.content.readline()
        await api.delete(f"{NS}/pods/p", {"gracePeriodSeconds": 0})
        await api.post(f"{NS}/configmaps", named("ConfigMap", "later"))
        rest = b""
        with contextlib.suppress(aiohttp.ClientError):
            rest = await events.content.read()
        assert b"later" not in rest


async def test_sec_30_a_watch_ends_when_its_token_expires(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.post(ROLES, role("r", rule("get list watch", "configmaps")))
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
    await api.post(BINDINGS, {**binding("b", "r"), "subjects": [subject]})
    holder = api.with_token(await token(api, expirationSeconds=600))
    now = time.time()
    monkeypatch.setattr(SystemClock, "now", lambda _: now + 599)
    async with asyncio.timeout(10), holder.open("GET", f"{NS}/configmaps?watch=1&timeoutSeconds=3600") as events:
        assert events.status == 200
        await events.content.read()  # to a clean end, an hour early


async def test_sec_31_a_certificate_expires_on_its_connection_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    jane = api.as_user("jane")
    assert await said(jane) == (201, ["jane"])
    watch = jane.open("GET", f"{NS}/configmaps?watch=1")
    now = time.time()
    monkeypatch.setattr(SystemClock, "now", lambda _: now + 100 * 366 * 86400)
    assert await said(jane) == (401, [])
    async with asyncio.timeout(10), watch as events:
        assert events.status == 401


async def said(api: Api) -> tuple[int, list[str]]:
    answer = await api.post(WHOAMI, REVIEW)
    return answer.status, [answer.body["status"]["userInfo"]["username"]] if answer.status == 201 else []


@pytest.mark.parametrize(
    ("method", "path", "verb", "what"),
    [
        ("POST", "exec?command=x", "create", "exec"),
        ("GET", "exec?command=x", "create", "exec"),
        ("POST", "attach", "create", "attach"),
        ("GET", "attach", "create", "attach"),
        ("POST", "portforward", "create", "portforward"),
        ("GET", "portforward", "create", "portforward"),
        ("GET", "log", "get", "log"),
    ],
)
async def test_sec_29_each_stream_is_a_right_of_its_own(api: Api, method: str, path: str, verb: str, what: str) -> None:
    await api.post(f"{NS}/pods", pod("p"))
    others = [name for name in ("exec", "attach", "portforward", "log") if name != what]
    spare = "pods " + " ".join(f"pods/{name}" for name in others)
    wrong = "get" if verb == "create" else "create"
    await api.post(ROLES, role("r", rule("*", spare), rule(f"{wrong} list watch", f"pods/{what}")))
    await api.post(BINDINGS, binding("b", "r", "jane"))
    refused = await api.as_user("jane").call(method, f"{NS}/pods/p/{path}")
    text = f'User "jane" cannot {verb} resource "pods/{what}" in API group "" in the namespace "default"'
    assert (refused.status, refused.body["message"]) == (403, f'pods "p" is forbidden: {text}')


def certificate(ca: pki.Credential, days: float = 1, *names: tuple[x509.ObjectIdentifier, str]) -> pki.Credential:
    """A client certificate as no careful CA makes it."""
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    signer = serialization.load_pem_private_key(ca.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, text) for oid, text in names]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pki.Credential(made.public_bytes(serialization.Encoding.PEM), private)


@pytest.mark.parametrize("case", ["other CA", "expired", "NUL", "nameless"])
async def test_sec_31_a_certificate_that_proves_nothing(api: Api, tmp_path: Path, case: str) -> None:
    ours = api.server.keys.ca
    admin = ((NameOID.ORGANIZATION_NAME, "system:masters"), (NameOID.COMMON_NAME, "x"))
    credential = {
        "other CA": lambda: certificate(pki.create_ca(), 1, *admin),
        "expired": lambda: certificate(ours, -1, *admin),
        "NUL": lambda: certificate(ours, 1, admin[0], (NameOID.COMMON_NAME, "kubernetes-admin\x00.example")),
        "nameless": lambda: certificate(ours, 1, admin[0]),
    }[case]()
    context = pki.client_context(ours.certificate, credential, tmp_path)
    bad = Api(api.server, api.session, context, {"Accept": "application/json"})
    try:
        answer = await bad.get("/api/v1/nodes")
    except (aiohttp.ClientError, ssl.SSLError, ConnectionError):
        return  # refused with the handshake
    assert answer.status == 401
