"""What becomes of kinds that are created and never stored (``kinds.answered``): an answer, or an act on something else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from holdfast.kinds import resources
from holdfast.kinds.kind import Resource
from holdfast.machinery import errors
from holdfast.registry import options
from holdfast.registry.admission.namespace import check_new
from holdfast.registry.authorize import reviews
from holdfast.registry.core import Core
from holdfast.registry.pipeline import check_type
from holdfast.registry.request import Request, Result
from holdfast.registry.subresources import pod


def _spec(request: Request) -> dict[str, Any]:
    options.check_write(request)
    resource = request.kind.resource
    check_type(request.body, resource.api_version, resource.kind)
    return reviews.spec_of(request.body)


async def _access(core: Core, request: Request) -> Result:
    found = reviews.access(core.authorizer, request.kind.resource, request.user, _spec(request), request.namespace)
    return Result(201, obj=found)


async def _rules(core: Core, request: Request) -> Result:
    return Result(201, obj=reviews.rules(core.rbac, request.user, _spec(request)))


async def _token(core: Core, request: Request) -> Result:
    spec = _spec(request)
    if core.verify_token is None:
        raise errors.unavailable("this server reviews no tokens")
    return Result(201, obj=await reviews.token(core.verify_token, spec))


async def _self(core: Core, request: Request) -> Result:
    _spec(request)
    return Result(201, obj=reviews.identity(request.user, core.timestamp()))


async def _bind(core: Core, request: Request) -> Result:
    """The form of ``pods/NAME/binding`` that came before it: the pod is the Binding's namesake."""
    metadata = request.body.get("metadata") if isinstance(request.body, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise errors.bad_request("metadata.name: the name of the pod to bind must be provided")
    check_new(core.cache, request, name)
    return await pod.bind(core, replace(request, kind=core.kinds.of(resources.PODS), name=name, subresource="binding"))


ANSWERED: Mapping[Resource, Callable[[Core, Request], Awaitable[Result]]] = {
    resources.BINDINGS: _bind,
    resources.SELFSUBJECTREVIEWS: _self,
    resources.TOKENREVIEWS: _token,
    resources.LOCALSUBJECTACCESSREVIEWS: _access,
    resources.SELFSUBJECTACCESSREVIEWS: _access,
    resources.SELFSUBJECTRULESREVIEWS: _rules,
    resources.SUBJECTACCESSREVIEWS: _access,
}
