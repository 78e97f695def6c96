"""What may never be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.machinery import errors
from holdfast.registry.request import Request

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

IMMORTAL = ("default", "kube-system", "kube-public")


async def check_delete(_registry: Registry, request: Request) -> None:
    if request.kind.resource.kind == "Namespace" and request.name in IMMORTAL:
        raise errors.forbidden("namespaces", request.name, "this namespace may not be deleted")
