"""One table, (group, version, plural) > Kind, that serves routes, discovery and OpenAPI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.kinds.kind import Kind, Resource


class KindTable:
    """All served kinds. ``generation`` rises with each change, so that derived documents know when they are stale."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self.generation = 0
        self.groups: set[str] = set()
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        resource = kind.resource
        self._kinds[(resource.group, resource.version, resource.plural)] = kind
        self.groups.add(resource.group)
        self.generation += 1

    def lookup(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def of(self, resource: Resource) -> Kind:
        """The kind of a resource. Raises KeyError when it is not served."""
        return self._kinds[(resource.group, resource.version, resource.plural)]

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())
