"""RBAC over HTTP: nobody grants what he does not have; aggregation; impersonation; names (SEC-25, SEC-26, SEC-28)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.security.objects import RBAC, RBAC_VERSION, binding, named, role, rule
from tests.serving import STORES, Api, api_server

NS = "/api/v1/namespaces/default"
ROLES, BINDINGS = (f"{RBAC}/namespaces/default/{plural}" for plural in ("roles", "rolebindings"))
CLUSTER_ROLES, CLUSTER_BINDINGS = f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings"
GROUP = "rbac.authorization.k8s.io"


@pytest.fixture(params=STORES)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path, request.param) as served:
        yield served


async def grant(api: Api, user: str, *rules: dict[str, Any], cluster: bool = False) -> Api:
    """The user, who has just been given these rights."""
    kind = "Cluster" if cluster else ""
    roles, bindings = (CLUSTER_ROLES, CLUSTER_BINDINGS) if cluster else (ROLES, BINDINGS)
    name = f"of-{user}"
    assert (await api.post(roles, role(name, *rules, kind=f"{kind}Role"))).status == 201
    body = binding(name, name, user, kind=f"{kind}RoleBinding", role_kind=f"{kind}Role")
    assert (await api.post(bindings, body)).status == 201
    return api.as_user(user)


WRITER = rule("create get update patch", "roles rolebindings clusterroles clusterrolebindings", GROUP)


async def test_sec_28_a_role_beyond_the_writers_rights_is_refused(api: Api) -> None:
    jane = await grant(api, "jane", WRITER, rule("get", "pods"))
    more = role("more", rule("get list", "pods secrets"), rule("get", "configmaps", resourceNames=["one"]))
    refused = await jane.post(ROLES, more)
    lines = (
        '{APIGroups:[""], Resources:["configmaps"], ResourceNames:["one"], Verbs:["get"]}\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )
    who = 'user "jane" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:'
    assert (refused.status, refused.body["message"]) == (403, f'roles.{GROUP} "more" is forbidden: {who}\n{lines}')
    assert (await jane.post(ROLES, role("same", rule("get", "pods", resourceNames=["a"])))).status == 201
    changed = {"rules": [rule("*", "pods")]}
    assert (await jane.patch(f"{ROLES}/same", changed)).status == 403
    assert (await jane.put(f"{ROLES}/new", role("new", rule("*", "pods")))).status == 403
    apply = await jane.patch(f"{ROLES}/applied?fieldManager=m", role("applied", rule("*", "pods")), "application/apply-patch+yaml")
    assert apply.status == 403
    assert (await jane.patch(f"{ROLES}/same", {"metadata": {"labels": {"a": "b"}}})).status == 200


async def test_sec_28_a_binding_needs_the_roles_rights_or_bind(api: Api) -> None:
    jane = await grant(api, "jane", WRITER)
    for body in (binding("esc", "cluster-admin", "jane", role_kind="ClusterRole"), binding("own", "big", "jane")):
        await api.post(ROLES, role("big", rule("*", "*")))
        assert (await jane.post(BINDINGS, body)).status == 403
    missing = await jane.post(BINDINGS, binding("none", "none", "jane"))
    assert (missing.status, missing.body["message"]) == (404, f'rolebindings.{GROUP} "none" not found')
    assert (
        await jane.post(CLUSTER_BINDINGS, binding("c", "view", "jane", kind="ClusterRoleBinding", role_kind="ClusterRole"))
    ).status == 403
    joe = await grant(api, "joe", WRITER, rule("bind", "roles", GROUP, resourceNames=["big"]))
    assert (await joe.post(BINDINGS, binding("joes", "big", "someone"))).status == 201
    assert (await joe.post(BINDINGS, binding("other", "of-jane", "joe"))).status == 201
    assert (await joe.post(BINDINGS, binding("esc", "cluster-admin", "joe", role_kind="ClusterRole"))).status == 403
    changed = {"subjects": [{"kind": "User", "apiGroup": GROUP, "name": "jane"}]}
    assert (await jane.patch(f"{BINDINGS}/joes", changed)).status == 403


async def test_sec_28_escalate_allows_it_and_aggregation_needs_everything(api: Api) -> None:
    clusterwide = await grant(api, "ann", WRITER, rule("get", "pods"), cluster=True)
    gathering = named("ClusterRole", "g", RBAC_VERSION, aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})
    refused = await clusterwide.post(CLUSTER_ROLES, gathering)
    assert refused.status == 403
    assert '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}' in refused.body["message"]
    may = await grant(api, "bob", WRITER, rule("escalate", "clusterroles", GROUP), cluster=True)
    assert (await may.post(CLUSTER_ROLES, gathering)).status == 201
    paths = role("urls", {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}, kind="ClusterRole")
    assert '{NonResourceURLs:["/metrics"], Verbs:["get"]}' in (await clusterwide.post(CLUSTER_ROLES, paths)).body["message"]


async def test_sec_28_aggregated_roles_gather_at_once_and_show_what_they_gather(api: Api) -> None:
    jane = api.as_user("jane")
    assert (await api.post(BINDINGS, binding("v", "view", "jane", role_kind="ClusterRole"))).status == 201
    assert (await jane.get(f"{NS}/pods")).status == 200
    assert (await jane.get(f"{NS}/secrets")).status == 403
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    assert (await jane.get(leases)).status == 403
    part = role("more", rule("list", "leases", "coordination.k8s.io"), kind="ClusterRole")
    part["metadata"]["labels"] = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    assert (await api.post(CLUSTER_ROLES, part)).status == 201
    assert (await jane.get(leases)).status == 200
    async with asyncio.timeout(10):
        async with api.open("GET", f"{CLUSTER_ROLES}?watch=1&fieldSelector=metadata.name%3Dadmin") as events:
            async for line in events.content:
                if b'"leases"' in line and b'"roles"' in line and b'"secrets"' in line:
                    break
    await api.delete(f"{CLUSTER_ROLES}/more")
    assert (await jane.get(leases)).status == 403


async def test_sec_28_impersonation_needs_the_right_for_each_part(api: Api) -> None:
    jane = await grant(api, "jane", rule("impersonate", "users", resourceNames=["joe"]), cluster=True)
    whoami, body = "/apis/authentication.k8s.io/v1/selfsubjectreviews", named("SelfSubjectReview", "", "authentication.k8s.io/v1")
    seen = await jane.post(whoami, body, **{"Impersonate-User": "joe"})
    assert seen.body["status"]["userInfo"] == {"username": "joe", "groups": ["system:authenticated"]}
    for headers in (
        {"Impersonate-User": "ann"},
        {"Impersonate-User": "joe", "Impersonate-Group": "system:masters"},
        {"Impersonate-User": "joe", "Impersonate-Uid": "u"},
        {"Impersonate-User": "joe", "Impersonate-Extra-Scope": "x"},
        {"Impersonate-User": "system:serviceaccount:kube-system:statefulset-controller"},
    ):
        assert (await jane.post(whoami, body, **headers)).status == 403, headers


async def test_sec_25_and_26_no_way_around_by_another_path(api: Api) -> None:
    jane = await grant(api, "jane", rule("*", "nodes endpoints"), rule("get", "services/status"))
    assert (await jane.get("/api/v1/nodes")).status == 403
    assert (await jane.get(f"{NS}/nodes")).status in (403, 404)
    assert (await jane.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")).status == 403
    assert (await jane.get(f"{NS}/services/kubernetes")).status == 403
    assert (await jane.get(f"{NS}/services/kubernetes/status")).status == 200
    assert (await jane.get("/apis/none.example/v1/namespaces/default/foos")).status == 403
    assert (await api.get("/apis/none.example/v1/namespaces/default/foos")).status == 404


async def test_def_2_nobody_reads_without_a_name(api: Api) -> None:
    bare = api.with_token("x")
    bare.headers.pop("Authorization")
    for path in ("/livez", "/readyz", "/healthz", "/version", "/livez/ping"):
        assert (await bare.get(path)).status in (200, 404)
    for path in ("/api", "/apis", "/api/v1/nodes", "/metrics", "/openapi/v2", "/openid/v1/jwks", "/versionx", "/livezx", "/"):
        assert (await bare.get(path)).status == 401, path


async def test_def_4_names_narrow_a_right(api: Api) -> None:
    jane = await grant(api, "jane", rule("get list watch update", "configmaps", resourceNames=["one"]))
    for name in ("one", "two"):
        await api.post(f"{NS}/configmaps", named("ConfigMap", name))
    assert (await jane.get(f"{NS}/configmaps/one")).status == 200
    assert (await jane.get(f"{NS}/configmaps/two")).status == 403
    assert (await jane.get(f"{NS}/configmaps")).status == 403
    narrowed = await jane.get(f"{NS}/configmaps?fieldSelector=metadata.name%3Done")
    assert [item["metadata"]["name"] for item in narrowed.body["items"]] == ["one"]
    assert (await jane.get(f"{NS}/configmaps?fieldSelector=metadata.name%21%3Done")).status == 403
    assert (await jane.post(f"{NS}/configmaps", named("ConfigMap", "new"))).status == 403


async def test_def_4_a_binding_to_nothing_grants_nothing_and_says_so(api: Api) -> None:
    body = binding("b", "none", "jane", kind="ClusterRoleBinding", role_kind="ClusterRole")
    assert (await api.post(CLUSTER_BINDINGS, body)).status == 201
    refused = await api.as_user("jane").get(f"{NS}/pods")
    assert refused.body["message"].endswith(f'in the namespace "default": RBAC: clusterrole.{GROUP} "none" not found')
