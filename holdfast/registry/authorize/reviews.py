"""Reviews: questions about permissions and identity (``kubectl auth can-i``, ``whoami``). Nothing is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import (
    LOCALSUBJECTACCESSREVIEWS,
    SELFSUBJECTACCESSREVIEWS,
    SELFSUBJECTREVIEWS,
    SELFSUBJECTRULESREVIEWS,
    TOKENREVIEWS,
)
from holdfast.machinery import errors, fielderror
from holdfast.registry.authorize import Attributes, Authorizer, node_of
from holdfast.registry.authorize.rbac import Rbac
from holdfast.registry.claims import TokenError
from holdfast.registry.request import User

VerifyToken = Callable[[str, Sequence[str]], Awaitable[tuple[User, list[str]]]]
"""(token, wanted audiences, empty = the API server's) -> identity and the audiences that fit. Raises TokenError."""


def user_info(user: User) -> Obj:
    found: Obj = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {name: list(values) for name, values in user.extra.items()}
    return found


def _answer(resource: Resource, spec: Any, status: Obj, metadata: Obj | None = None) -> Obj:
    found: Obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata or {}}
    if spec is not None:
        found["spec"] = spec
    return found | {"status": status}


def identity(user: User, now: str) -> Obj:
    return _answer(SELFSUBJECTREVIEWS, None, {"userInfo": user_info(user)}, {"creationTimestamp": now})


def access(authorizer: Authorizer, asked: Resource, user: User, spec: Obj, namespace: str) -> Obj:
    """The three access reviews; ``user`` is the asker."""
    if asked != SELFSUBJECTACCESSREVIEWS:
        user = User(str(spec.get("user") or ""), tuple(spec.get("groups") or ()), str(spec.get("uid") or ""))
        if not user.name and not user.groups:
            _refuse(fielderror.invalid("spec.user", "", "at least one of user or group must be specified"))
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        shown = {name.capitalize(): path.get(name) or "" for name in ("path", "verb")}
        _refuse(fielderror.invalid("spec.nonResourceAttributes", shown, "cannot be specified in combination with resourceAttributes"))
    if resource is None and path is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        _refuse(fielderror.invalid("spec.resourceAttributes", None, text))
    if asked == LOCALSUBJECTACCESSREVIEWS and (resource or {}).get("namespace") != namespace:
        _refuse(
            fielderror.invalid("spec.resourceAttributes.namespace", (resource or {}).get("namespace"), "must match metadata.namespace")
        )
    decision = authorizer.decide(user, _attributes(resource, path))
    status: Obj = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    return _answer(asked, spec, status)


def _attributes(resource: Obj | None, path: Obj | None) -> Attributes:
    if resource is None:
        assert path is not None
        return Attributes(str(path.get("verb") or ""), path=str(path.get("path") or "/"))
    names = ("verb", "group", "resource", "subresource", "namespace", "name")
    asked = Attributes(*(str(resource.get(name) or "") for name in names))
    return asked._replace(fields=_fields(resource.get("fieldSelector")))


def _fields(selector: Any) -> str:
    """A field selector as a list request would carry it; what cannot be said so narrows nothing."""
    if not isinstance(selector, dict):
        return ""
    if selector.get("rawSelector"):
        return str(selector["rawSelector"])
    wanted = [one for one in selector.get("requirements") or [] if one.get("operator") == "In" and len(one.get("values") or []) == 1]
    return ",".join(f"{one.get('key')}={one['values'][0]}" for one in wanted)


def rules(authorizer: Rbac, user: User, spec: Obj) -> Obj:
    namespace = spec.get("namespace")
    if not namespace:
        raise errors.bad_request("no namespace on request")
    resources: list[Obj] = []
    paths: list[Obj] = []
    for rule in authorizer.rules(user, str(namespace)):
        kept = {name: rule[name] for name in ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs") if rule.get(name)}
        target = paths if "nonResourceURLs" in kept else resources
        if kept not in target:
            target.append(kept)
    status: Obj = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": node_of(user) is not None}
    if status["incomplete"]:
        status["evaluationError"] = "node authorizer does not support user rule resolution"
    return _answer(SELFSUBJECTRULESREVIEWS, {}, status)


async def token(verify: VerifyToken, spec: Obj) -> Obj:
    if not spec.get("token"):
        raise errors.bad_request("token is required for TokenReview in authentication")
    try:
        user, audiences = await verify(str(spec["token"]), list(spec.get("audiences") or ()))
    except TokenError as error:
        return _answer(TOKENREVIEWS, spec, {"user": {}, "error": str(error)})
    return _answer(TOKENREVIEWS, spec, {"authenticated": True, "user": user_info(user), "audiences": audiences})


def spec_of(body: Any) -> Obj:
    """What is asked, as far as it can be read."""
    if not isinstance(body, dict) or not isinstance(body.get("spec") or {}, dict):
        raise errors.bad_request("the body is not a review object")
    spec: Obj = body.get("spec") or {}
    for name in ("resourceAttributes", "nonResourceAttributes"):
        if not isinstance(spec.get(name) or {}, dict):
            raise errors.bad_request(f"spec.{name} must be an object")
    return spec


def _refuse(found: fielderror.FieldError) -> None:
    raise errors.invalid("", "", [found], SELFSUBJECTACCESSREVIEWS.group)
