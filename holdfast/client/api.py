"""The client: the one door through which controllers and nodes touch objects.

Two implementations: ``client.http.HttpClient`` (any Kubernetes API server) and
``registry.local.LocalClient`` (in-process, same pipeline, same RBAC, an identity of its own). Both
raise ``machinery.errors.ApiError`` for a refusal and ``UnknownOutcomeError`` when a write's fate is not
known. Objects returned may be shared: never mutate them, ``copy.deepcopy`` first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.kinds.kind import Obj, Resource
from holdfast.machinery.errors import ApiError

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """``type`` is ADDED, MODIFIED, DELETED or BOOKMARK. ERROR never appears: it is raised as ApiError."""

    type: str
    object: Obj


class Client(Protocol):
    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        """A live, linearizable read. Raises ApiError 404."""

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Obj:
        """The whole List object (items, metadata.resourceVersion). namespace "" = all.

        ``metadata_only``: of each item its type and its metadata without managedFields.
        """

    async def create(self, resource: Resource, obj: Obj, namespace: str = "", *, subresource: str = "", name: str = "") -> Obj:
        """POST; with ``subresource`` and ``name`` to e.g. pods/NAME/binding or serviceaccounts/NAME/token."""

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        """PUT of obj at its own namespace/name; metadata.resourceVersion, when present, must match (ApiError 409)."""

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Any,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Obj: ...

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_period: int | None = None,
        propagation: str = "",
    ) -> Obj: ...

    def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Events after ``resource_version``, with bookmarks; ends when the server ends it; raises ApiError 410 when too old.

        ``metadata_only`` as in ``list``.
        """


async def find(client: Client, resource: Resource, name: str, namespace: str = "") -> Obj | None:
    """A live read; None when the server itself says that it is not there, which no picture can prove. Raises ApiError."""
    if not name:
        return None
    try:
        return await client.get(resource, name, namespace)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
