"""Default roles and bindings after an upgrade: what lacks is added, what somebody added stays, what was withdrawn goes (DEF-4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.registry.bootstrap import bootstrap
from tests.conformance.security.objects import rule
from tests.serving import STORES, Api, api_server

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES, BINDINGS = f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
NODES = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}
JANE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}


@pytest.fixture(params=STORES)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path, request.param) as served:
        yield served


async def changed(api: Api, path: str, body: Any) -> dict[str, Any]:
    """The object after a change by hand and a start of the server."""
    answer = await api.patch(path, body)
    assert answer.status == 200, answer.raw
    await bootstrap(api.registry)
    found: dict[str, Any] = (await api.get(path)).body
    return found


async def fixed(api: Api) -> list[dict[str, Any]]:
    """All but the roles that a controller fills."""
    found = [item for path in (ROLES, BINDINGS) for item in (await api.get(path)).body["items"]]
    return [item for item in found if not item.get("aggregationRule")]


async def test_def_4_a_start_changes_nothing_that_is_whole(api: Api) -> None:
    before = await fixed(api)
    await bootstrap(api.registry)
    assert await fixed(api) == before


async def test_def_4_roles_get_what_they_lack_and_keep_what_they_have(api: Api) -> None:
    path = f"{ROLES}/system:kube-dns"
    whole = (await api.get(path)).body
    own = rule("get", "secrets")
    found = await changed(api, path, {"rules": [own], "metadata": {"labels": {"kubernetes.io/bootstrapping": None, "own": "1"}}})
    assert found["rules"] == [own, *whole["rules"]]
    assert found["metadata"]["labels"] == {"own": "1", "kubernetes.io/bootstrapping": "rbac-defaults"}
    # A rule that covers more is as good: nothing is added to it.
    wide = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "watch"]}]
    assert (await changed(api, path, {"rules": wide}))["rules"] == wide
    path = f"{ROLES}/view"
    mine = {"matchLabels": {"mine": "true"}}
    selectors = (await api.get(path)).body["aggregationRule"]["clusterRoleSelectors"]
    found = await changed(api, path, {"aggregationRule": {"clusterRoleSelectors": [mine]}})
    assert found["aggregationRule"]["clusterRoleSelectors"] == [mine, *selectors]


async def test_def_4_bindings_get_their_subjects_and_their_role(api: Api) -> None:
    path = f"{BINDINGS}/system:discovery"
    whole = (await api.get(path)).body
    assert (await changed(api, path, {"subjects": [JANE]}))["subjects"] == [JANE, *whole["subjects"]]
    await api.delete(path)
    other = {**whole, "metadata": {"name": "system:discovery"}, "roleRef": {**whole["roleRef"], "name": "cluster-admin"}}
    made = await api.post(BINDINGS, other)
    assert made.status == 201
    await bootstrap(api.registry)
    found = (await api.get(path)).body
    assert (found["roleRef"], found["metadata"]["uid"] == made.body["metadata"]["uid"]) == (whole["roleRef"], False)
    await api.delete(path)
    await bootstrap(api.registry)
    assert (await api.get(path)).body["subjects"] == whole["subjects"]


async def test_def_4_who_says_so_keeps_his_role(api: Api) -> None:
    mine = {"metadata": {"annotations": {AUTOUPDATE: "false"}}}
    assert not (await changed(api, f"{ROLES}/system:discovery", {**mine, "rules": []})).get("rules")
    assert (await changed(api, f"{BINDINGS}/system:discovery", {**mine, "subjects": [JANE]}))["subjects"] == [JANE]
    assert (await changed(api, f"{BINDINGS}/system:node", {**mine, "subjects": [NODES]}))["subjects"] == [NODES]


async def test_sec_22_the_wide_binding_of_agents_goes(api: Api) -> None:
    """Data directories of the first versions bind all agents to a role that reads every secret."""
    await api.patch(f"{ROLES}/system:node", {"rules": [rule("get list watch", "secrets")]})
    path = f"{BINDINGS}/system:node"
    await api.patch(path, {"subjects": [NODES, JANE]})
    agent = api.as_user("system:node:n", "system:nodes")
    secrets = "/api/v1/secrets"
    assert (await agent.get(secrets)).status == 200
    await bootstrap(api.registry)
    assert (await api.get(path)).body["subjects"] == [JANE]
    assert (await agent.get(secrets)).status == 403


async def test_sec_22_an_old_data_directory_is_narrowed_by_the_next_start(tmp_path: Path) -> None:
    async with api_server(tmp_path, "sqlite") as api:
        await api.patch(f"{BINDINGS}/system:node", {"subjects": [NODES]})
    async with api_server(tmp_path, "sqlite") as api:
        assert "subjects" not in (await api.get(f"{BINDINGS}/system:node")).body
