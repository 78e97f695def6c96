"""Who may do what: the attributes of a request, the authorizer's interface, the texts of refusals. Next: ``rbac``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.registry.request import Request, User

MASTERS = "system:masters"


class Attributes(NamedTuple):
    """What is asked. ``path`` is set for requests that name no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass(frozen=True)
class Decision:
    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    def decide(self, user: User, attributes: Attributes) -> Decision: ...


def attributes_of(request: Request) -> Attributes:
    resource = request.kind.resource
    # A Namespace counts as lying in itself, so that a Role in it may grant reading it.
    itself = request.name if (resource.group, resource.plural) == ("", "namespaces") else ""
    namespace = request.namespace if resource.namespaced else itself
    return Attributes(request.verb, resource.group, resource.plural, request.subresource, namespace, request.name)


def refusal(user: User, asked: Attributes, reason: str = "") -> ApiError:
    """The 403 of a refused request. Reasons tell nothing of what others may do."""
    if asked.path:
        return ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"', {})
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {asked.verb} resource "{asked.full_resource}" in API group "{asked.group}" {where}'
    name = "" if asked.verb == "create" and not asked.subresource else asked.name
    return errors.forbidden(asked.resource, name, f"{why}: {reason}" if reason else why, asked.group)
