"""Objects that the security tests make, as short as the API takes them."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]


def container(name: str = "c", **more: Any) -> Obj:
    return {"name": name, "image": "i:1", **more}


def pod(name: str, node: str = "", *, containers: list[Obj] | None = None, **spec: Any) -> Obj:
    body = {"containers": containers or [container()], **spec}
    if node:
        body["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def named(kind: str, name: str, version: str = "v1", **more: Any) -> Obj:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


def rule(verbs: str, resources: str, groups: str = "", **more: Any) -> Obj:
    return {"verbs": verbs.split(), "apiGroups": groups.split(",") if groups else [""], "resources": resources.split(), **more}


RBAC = "/apis/rbac.authorization.k8s.io/v1"
RBAC_VERSION = "rbac.authorization.k8s.io/v1"


def role(name: str, *rules: Obj, kind: str = "Role") -> Obj:
    return named(kind, name, RBAC_VERSION, rules=list(rules))


def binding(name: str, to: str, *users: str, kind: str = "RoleBinding", role_kind: str = "Role") -> Obj:
    subjects = [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user} for user in users]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": to}
    return named(kind, name, RBAC_VERSION, subjects=subjects, roleRef=reference)
