"""Access reviews say what enforcement does, and both what a small evaluator of RBAC's definition says: 10,000 tuples (SEC-28)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from holdfast.kinds.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, SUBJECTACCESSREVIEWS
from holdfast.registry.authorize import Attributes
from holdfast.registry.bootstrap import SERVER
from holdfast.registry.local import LocalClient
from holdfast.registry.request import User
from tests.conformance.security.objects import named
from tests.serving import STORES, api_server

Obj = dict[str, Any]
TUPLES = 10_000
USERS = [f"u{n}" for n in range(4)] + ["system:serviceaccount:n0:sa"]
GROUPS = ["g0", "g1", "system:serviceaccounts:n0"]
NAMESPACES = ["n0", "n1"]
VERBS = ["get", "list", "create", "delete", "impersonate"]
API_GROUPS = ["", "apps"]
RESOURCES = ["pods", "pods/log", "secrets", "statefulsets", "statefulsets/scale"]
NAMES = ["", "a", "b"]
PATHS = ["/metrics", "/healthz", "/healthz/ping", "/api", "/a/b/c"]
RBAC_GROUP = "rbac.authorization.k8s.io"


def some(pick: random.Random, values: list[str], star: str = "*") -> list[str]:
    return [star] if pick.random() < 0.15 else pick.sample(values, pick.randint(1, 2))


def a_rule(pick: random.Random, *, paths: bool) -> Obj:
    if paths and pick.random() < 0.3:
        return {"verbs": some(pick, VERBS), "nonResourceURLs": [pick.choice(["*", "/healthz*", "/healthz/*", *PATHS])]}
    resources = some(pick, [*RESOURCES, "*/scale"])
    found: Obj = {"verbs": some(pick, VERBS), "apiGroups": some(pick, API_GROUPS), "resources": resources}
    if pick.random() < 0.3:
        found["resourceNames"] = pick.sample(NAMES[1:], 1)
    return found


def a_subject(pick: random.Random) -> Obj:
    kind = pick.choice(["User", "Group", "ServiceAccount"])
    if kind == "ServiceAccount":
        return {"kind": kind, "name": "sa", "namespace": pick.choice(NAMESPACES)}
    return {"kind": kind, "apiGroup": RBAC_GROUP, "name": pick.choice(USERS if kind == "User" else GROUPS)}


def a_world(pick: random.Random) -> tuple[list[Obj], list[Obj]]:
    """Roles (with ``metadata.namespace`` for the namespaced) and bindings."""
    roles = [named("ClusterRole", f"c{n}", rules=[a_rule(pick, paths=True) for _ in range(2)]) for n in range(4)]
    for namespace in NAMESPACES:
        roles += [named("Role", f"r{n}", rules=[a_rule(pick, paths=False)]) for n in range(2)]
        for found in roles[-2:]:
            found["metadata"]["namespace"] = namespace
    bindings = []
    for n in range(6):
        namespace = pick.choice(["", *NAMESPACES])
        refers = pick.choice([f"c{pick.randint(0, 4)}"] if not namespace or pick.random() < 0.5 else ["r0", "r1"])
        kind = "ClusterRole" if refers.startswith("c") else "Role"
        found = named("RoleBinding" if namespace else "ClusterRoleBinding", f"b{n}", subjects=[a_subject(pick), a_subject(pick)])
        found["roleRef"] = {"apiGroup": RBAC_GROUP, "kind": kind, "name": refers}
        if namespace:
            found["metadata"]["namespace"] = namespace
        bindings.append(found)
    return roles, bindings


def reference(roles: list[Obj], bindings: list[Obj], user: User, asked: Attributes) -> bool:
    """RBAC by its definition, without index or memory."""
    for binding in bindings:
        home = binding["metadata"].get("namespace", "")
        if home and (asked.path or home != asked.namespace):
            continue
        if not any(is_subject(subject, user) for subject in binding["subjects"]):
            continue
        target = binding["roleRef"]
        for role in roles:
            where = role["metadata"].get("namespace", "")
            if (role["kind"], role["metadata"]["name"]) != (target["kind"], target["name"]) or where not in ("", home):
                continue
            if any(grants(rule, asked) for rule in role["rules"]):
                return True
    return False


def is_subject(subject: Obj, user: User) -> bool:
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    if subject["kind"] == "User":
        return bool(subject["name"] == user.name)
    return user.name == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"


def grants(rule: Obj, asked: Attributes) -> bool:
    def has(part: str, value: str) -> bool:
        return "*" in rule.get(part, []) or value in rule.get(part, [])

    if not has("verbs", asked.verb):
        return False
    if asked.path:
        urls = rule.get("nonResourceURLs", [])
        return any(asked.path == url or (url.endswith("*") and asked.path.startswith(url[:-1])) for url in urls)
    full = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    wild = bool(asked.subresource) and f"*/{asked.subresource}" in rule.get("resources", [])
    named_ = not rule.get("resourceNames") or asked.name in rule["resourceNames"]
    return "resources" in rule and has("apiGroups", asked.group) and (has("resources", full) or wild) and named_


def a_question(pick: random.Random) -> tuple[User, Attributes]:
    user = User(pick.choice(USERS), tuple(pick.sample(GROUPS, pick.randint(0, 2))))
    if pick.random() < 0.2:
        return user, Attributes(pick.choice(VERBS), path=pick.choice(PATHS))
    resource, _, subresource = pick.choice(RESOURCES).partition("/")
    where = pick.choice(["", *NAMESPACES])
    return user, Attributes(pick.choice(VERBS), pick.choice(API_GROUPS), resource, subresource, where, pick.choice(NAMES))


async def test_sec_28_reviews_and_enforcement_agree_with_the_definition(tmp_path: Path) -> None:
    pick = random.Random(28)
    allowed = 0
    async with api_server(tmp_path) as api:
        admin = LocalClient(api.registry, SERVER, "test")
        for namespace in NAMESPACES:
            await api.post("/api/v1/namespaces", named("Namespace", namespace))
        for _ in range(20):
            roles, bindings = a_world(pick)
            made = []
            for obj in [*roles, *bindings]:
                kinds = {"Role": ROLES, "ClusterRole": CLUSTERROLES, "RoleBinding": ROLEBINDINGS}
                resource = kinds.get(obj["kind"], CLUSTERROLEBINDINGS)
                body = {**orjson.loads(orjson.dumps(obj)), "apiVersion": resource.api_version}
                await admin.create(resource, body, obj["metadata"].get("namespace", ""))
                made.append((resource, obj["metadata"]))
            for number in range(TUPLES // 20):
                user, asked = a_question(pick)
                wanted = reference(roles, bindings, user, asked)
                allowed += wanted
                assert api.registry.authorizer.decide(user, asked).allowed is wanted, (user, asked, roles, bindings)
                if number % 10 == 0:
                    spec: Obj = {"user": user.name, "groups": list(user.groups)}
                    if asked.path:
                        spec["nonResourceAttributes"] = {"verb": asked.verb, "path": asked.path}
                    else:
                        fields = ("verb", "group", "resource", "subresource", "namespace", "name")
                        spec["resourceAttributes"] = {name: getattr(asked, name) for name in fields}
                    said = await admin.create(SUBJECTACCESSREVIEWS, {"spec": spec})
                    assert said["status"]["allowed"] is wanted
            for resource, metadata in made:
                await admin.delete(resource, metadata["name"], metadata.get("namespace", ""))
    assert 0.05 < allowed / TUPLES < 0.95


@pytest.mark.parametrize("store", STORES)
async def test_sec_28_what_a_review_allows_a_request_may(tmp_path: Path, store: str) -> None:
    """Over HTTP: the review of the asker himself against the request it speaks of."""
    async with api_server(tmp_path, store) as api:
        jane = api.as_user("jane")
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        rules = [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["one"]},
            {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["get"]},
        ]
        await api.post(f"{rbac}/roles", named("Role", "r", "rbac.authorization.k8s.io/v1", rules=rules))
        reference_ = {"apiGroup": RBAC_GROUP, "kind": "Role", "name": "r"}
        subjects = [{"kind": "User", "apiGroup": RBAC_GROUP, "name": "jane"}]
        body = named("RoleBinding", "b", "rbac.authorization.k8s.io/v1", roleRef=reference_, subjects=subjects)
        assert (await api.post(f"{rbac}/rolebindings", body)).status == 201
        for namespace in ("default", "kube-system"):
            for group, resource, path in (
                ("", "configmaps", "/api/v1"),
                ("", "secrets", "/api/v1"),
                ("", "pods", "/api/v1"),
                ("apps", "statefulsets", "/apis/apps/v1"),
            ):
                for verb, name in (("list", ""), ("get", "one"), ("get", "two")):
                    spec = {
                        "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name}
                    }
                    review = named("SelfSubjectAccessReview", "", "authorization.k8s.io/v1", spec=spec)
                    said = await jane.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
                    answer = await jane.get(f"{path}/namespaces/{namespace}/{resource}/{name}".rstrip("/"))
                    assert said.body["status"]["allowed"] is (answer.status != 403), (spec, answer.status)
