"""One object on its way to the store: what the pipeline's steps and the admission plugins are handed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.kinds.kind import Kind, Obj, Subresource
from holdfast.registry.cache import WatchCache
from holdfast.registry.core import Core
from holdfast.registry.request import Request


@dataclass
class Write:
    """``old`` is None on create and shared with readers; ``new`` becomes the pipeline's own copy once decoded."""

    core: Core
    request: Request
    new: Obj
    old: Obj | None = None
    managed: list[Obj] | None = None
    """managedFields as an apply has already decided them; None: the pipeline derives them from what changed."""
    warnings: list[str] = field(default_factory=list)
    releases: list[Callable[[], None]] = field(default_factory=list)
    """Run when the write is over, however it ended (reservations of addresses)."""

    @property
    def kind(self) -> Kind:
        return self.request.kind

    @property
    def cache(self) -> WatchCache:
        return self.core.cache

    @property
    def status_only(self) -> bool:
        return self.request.subresource == "status"

    @property
    def part(self) -> Subresource | None:
        """The subresource through which one part of the object is written."""
        declared = self.kind.subresources.get(self.request.subresource)
        return declared if declared is not None and declared.part is not None else None

    def release(self) -> None:
        for act in self.releases:
            act()
        self.releases.clear()


def new_pod(write: Write) -> Obj | None:
    """The spec of a pod that is being created; None for any other write."""
    resource = write.kind.resource
    if write.old is not None or (resource.group, resource.plural) != ("", "pods"):
        return None
    spec = write.new.get("spec")
    return spec if isinstance(spec, dict) else None
