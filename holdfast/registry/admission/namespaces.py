"""Nothing is created in a namespace that is not there, or that is going."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.machinery import errors

if TYPE_CHECKING:
    from holdfast.registry.pipeline import Write


async def namespace_lifecycle(write: Write) -> None:
    request, resource = write.request, write.kind.resource
    if write.old is not None or not resource.namespaced:
        return
    found = write.registry.cache.get(f"/registry/namespaces/{request.namespace}")
    if found is None:
        raise errors.not_found("namespaces", request.namespace)
    if found.obj["metadata"].get("deletionTimestamp"):
        text = f"unable to create new content in namespace {request.namespace} because it is being terminated"
        name = (write.new.get("metadata") or {}).get("name", "")
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {request.namespace} is being terminated",
            "field": "metadata.namespace",
        }
        raise errors.forbidden(resource.plural, name, text, resource.group, causes=[cause])
