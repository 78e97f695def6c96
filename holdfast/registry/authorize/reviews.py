"""Access reviews: ``kubectl auth can-i`` and ``whoami``. Created, answered, never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, fielderror
from holdfast.machinery.errors import ApiError
from holdfast.registry.request import User

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"
GROUPS = {
    "selfsubjectaccessreviews": (AUTHORIZATION, "SelfSubjectAccessReview"),
    "selfsubjectrulesreviews": (AUTHORIZATION, "SelfSubjectRulesReview"),
    "subjectaccessreviews": (AUTHORIZATION, "SubjectAccessReview"),
    "selfsubjectreviews": (AUTHENTICATION, "SelfSubjectReview"),
    "tokenreviews": (AUTHENTICATION, "TokenReview"),
}
OPEN = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")
"""Reviews of oneself: every authenticated user may ask."""


async def review(registry: Registry, user: User, plural: str, body: Obj) -> Obj:
    """The review with its status. Raises ApiError."""
    group, kind = GROUPS[plural]
    if plural not in OPEN and not registry.rbac.allowed(user, "create", group, plural, "", "", ""):
        text = f'User "{user.name}" cannot create resource "{plural}" in API group "{group}" at the cluster scope'
        text = f"{plural}.{group} is forbidden: {text}"
        raise ApiError(403, "Forbidden", text, {"group": group, "kind": plural})
    spec = body.get("spec") or {}
    if not isinstance(spec, dict):
        raise errors.bad_request("spec is not an object")
    answer: Obj = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": {"creationTimestamp": None}, "spec": spec}
    if plural == "selfsubjectreviews":
        return {k: v for k, v in answer.items() if k != "spec"} | {"status": {"userInfo": _info(user)}}
    if plural == "tokenreviews":
        return answer | {"status": await _token(registry, spec)}
    if plural == "selfsubjectrulesreviews":
        return answer | {"status": _rules(registry, user, spec)}
    subject = user
    if plural == "subjectaccessreviews":
        subject = User(str(spec.get("user") or ""), tuple(spec.get("groups") or ()))
    return answer | {"status": _access(registry, subject, kind, spec)}


def _access(registry: Registry, user: User, kind: str, spec: dict[str, Any]) -> Obj:
    attributes, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (attributes is None) == (path is None):
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise errors.invalid(kind, "", [fielderror.invalid("spec.resourceAttributes", attributes, text)], AUTHORIZATION)
    if path is not None:
        allowed = registry.rbac.allowed_path(user, str(path.get("verb") or ""), str(path.get("path") or ""))
    else:
        assert attributes is not None
        wanted = (attributes.get(f) or "" for f in ("verb", "group", "resource", "subresource", "namespace", "name"))
        allowed = registry.rbac.allowed(user, *wanted)
    return {"allowed": allowed}


def _rules(registry: Registry, user: User, spec: dict[str, Any]) -> Obj:
    resources: list[Obj] = []
    paths: list[Obj] = []
    every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    rules = [every, {"verbs": ["*"], "nonResourceURLs": ["*"]}] if "system:masters" in user.groups else []
    rules += list(registry.rbac.rules(user, str(spec.get("namespace") or "")))
    for rule in rules:
        (paths if rule.get("nonResourceURLs") else resources).append(rule)
    return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}


async def _token(registry: Registry, spec: dict[str, Any]) -> Obj:
    if registry.verify_token is None:
        return {"authenticated": False, "error": "this server issues no tokens"}
    user = await registry.verify_token(str(spec.get("token") or ""), list(spec.get("audiences") or []))
    if user is None:
        return {"authenticated": False, "error": "invalid bearer token"}
    return {"authenticated": True, "user": _info(user)}


def _info(user: User) -> Obj:
    info: Obj = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {name: list(values) for name, values in user.extra.items()}
    return info
