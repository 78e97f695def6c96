"""Who may do what: the attributes of a request, the authorizer's interface, the texts of refusals. Next: ``rbac``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.machinery.selectors import parse_field_selector
from holdfast.registry.request import Request, User

MASTERS = "system:masters"
NODES = "system:nodes"
NODE_USER = "system:node:"
_SELECTING = ("list", "watch", "deletecollection")


class Attributes(NamedTuple):
    """What is asked. ``path`` is set for requests that name no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    fields: str = ""
    """The field selector of a list or watch: the Node authorizer looks at it."""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True)
class Decision:
    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    def decide(self, user: User, attributes: Attributes) -> Decision: ...


class Union:
    """Asks one authorizer after the other; the first that allows decides. ``system:masters`` may do everything."""

    def __init__(self, *authorizers: Authorizer) -> None:
        self._authorizers = authorizers

    def decide(self, user: User, attributes: Attributes) -> Decision:
        if MASTERS in user.groups:
            return Decision(True)
        reasons = []
        for authorizer in self._authorizers:
            decision = authorizer.decide(user, attributes)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))


def node_of(user: User) -> str | None:
    """The node whose agent this is; "" for an agent that names no node; None for everybody else."""
    if NODES not in user.groups or not user.name.startswith(NODE_USER):
        return None
    return user.name.removeprefix(NODE_USER)


def attributes_of(request: Request) -> Attributes:
    resource = request.kind.resource
    # A Namespace counts as lying in itself, so that a Role in it may grant reading it.
    itself = request.name if (resource.group, resource.plural) == ("", "namespaces") else ""
    namespace = request.namespace if resource.namespaced else itself
    name, fields = request.name, ""
    if request.verb in _SELECTING and (fields := request.options.get("fieldSelector", "")) and not name:
        name = _one_name(fields)
    return Attributes(request.verb, resource.group, resource.plural, request.subresource, namespace, name, "", fields)


def _one_name(fields: str) -> str:
    """The name that a field selector narrows a list to: a grant on that object (resourceNames) is then enough."""
    try:
        wanted = parse_field_selector(fields)
    except ApiError:
        return ""
    return next((value for field, operator, value in wanted if (field, operator) == ("metadata.name", "=")), "")


def refusal(user: User, asked: Attributes, reason: str = "") -> ApiError:
    """The 403 of a refused request. Reasons tell nothing of what others may do."""
    if asked.path:
        return ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"', {})
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {asked.verb} resource "{asked.full_resource}" in API group "{asked.group}" {where}'
    name = "" if asked.verb == "create" and not asked.subresource else asked.name
    return errors.forbidden(asked.resource, name, f"{why}: {reason}" if reason else why, asked.group)
