"""NamespaceLifecycle: objects live only in namespaces that exist, and nothing new comes into one that goes."""

from __future__ import annotations

from holdfast.kinds.kind import Kind
from holdfast.machinery import errors, meta
from holdfast.registry.cache import WatchCache
from holdfast.registry.request import Request
from holdfast.registry.write import Write

UNDELETABLE = ("default", "kube-system", "kube-public")


async def lifecycle(write: Write) -> None:
    """The namespace must exist."""
    if write.old is not None or not write.kind.resource.namespaced:
        return
    if write.cache.get(f"/registry/namespaces/{write.request.namespace}") is None:
        raise errors.not_found("namespaces", write.request.namespace)


async def terminating(write: Write) -> None:
    """Right before the commit, so that the answer is as fresh as can be."""
    if write.old is None and write.kind.resource.namespaced:
        check_new(write.cache, write.request, meta.name(write.new))


def check_new(cache: WatchCache, request: Request, name: str) -> None:
    """Something new for the object of that name: itself, or what a create of a subresource makes (a binding, an eviction, a token)."""
    namespace, resource = request.namespace, request.kind.resource
    found = cache.get(f"/registry/namespaces/{namespace}")
    if found is None:
        raise errors.not_found("namespaces", namespace)
    if not meta.is_terminating(found.obj):
        return
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    raise errors.forbidden(resource.plural, name, why, resource.group, causes=[cause])


def check_delete(kind: Kind, name: str) -> None:
    if (kind.resource.group, kind.resource.plural) == ("", "namespaces") and name in UNDELETABLE:
        raise errors.forbidden("namespaces", name, "this namespace may not be deleted")
