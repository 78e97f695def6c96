"""Informers: a collection as a local picture that follows the server, with indexes and callbacks.

List, then watch from that revision; relist on 410; back off while the server is away. A uid that changes
under one name is two objects: the handlers see a deletion, then an addition (SCEN-16). Objects in the
picture are shared: never change them. An absence here proves nothing about the server (DESIGN rule 5).
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from holdfast.client.api import Client
from holdfast.kinds.kind import Obj, Resource
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

log = logging.getLogger("holdfast.client")

Handler = Callable[[Obj | None, Obj | None], None]
"""(old, new): None for absent."""
Index = Callable[[Obj], Iterable[str]]
BACKOFF = (0.05, 5.0)
PIECE = 1000


class Informer:
    """``metadata_only``: the picture has type and metadata of its objects only."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> None:
        self._client = client
        self.resource = resource
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._metadata_only = metadata_only
        self._objects: dict[str, Obj] = {}
        self._spaces: dict[str, dict[str, Obj]] = {}
        self._handlers: list[Handler] = []
        self._indexes: dict[str, Index] = {}
        self._indexed: dict[str, dict[str, set[str]]] = {}
        self._synced = asyncio.Event()
        self.revision = ""
        self.lists = 0

    # The picture

    @property
    def synced(self) -> bool:
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def get(self, name: str, namespace: str = "") -> Obj | None:
        return self._objects.get(f"{namespace}/{name}" if namespace else name)

    def list(self, namespace: str = "") -> builtins.list[Obj]:
        if not namespace:
            return [*self._objects.values()]
        return [*self._spaces.get(namespace, {}).values()]

    def space(self, namespace: str) -> Mapping[str, Obj]:
        """The objects of a namespace by name, as they are while nobody else has a turn."""
        return self._spaces.get(namespace, {})

    def add_index(self, name: str, index: Index) -> None:
        """Before ``run``: objects can then be found ``by_index(name, key)``."""
        self._indexes[name] = index
        self._indexed[name] = {}

    def by_index(self, name: str, key: str) -> builtins.list[Obj]:
        return [self._objects[k] for k in sorted(self._indexed[name].get(key, ()))]

    def named(self) -> Mapping[str, Obj]:
        """The picture by name or ``namespace/name``; it follows the server too."""
        return MappingProxyType(self._objects)

    def on_change(self, handler: Handler) -> None:
        """``handler`` runs on the loop after the picture has changed; it must be quick and must not raise."""
        self._handlers.append(handler)

    def statistics(self) -> Mapping[str, float]:
        return {"objects": len(self._objects), "lists": self.lists}

    # Following the server

    async def run(self) -> None:
        """Until cancelled."""
        pause, away = BACKOFF[0], False
        while True:
            try:
                if not self.revision:
                    await self._relist()
                    pause, away = BACKOFF[0], False
                await self._follow()
                pause, away = BACKOFF[0], False
            except ApiError as error:
                if error.code == 410:
                    self.revision = ""
                    continue
                log.warning("%s: %s", self.resource.qualified, error.message)
            except (OSError, TimeoutError) as error:
                log.log(logging.DEBUG if away else logging.INFO, "%s: the API server is away: %s", self.resource.qualified, error)
                away = True
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, BACKOFF[1])

    async def _relist(self) -> None:
        found = await self._client.list(
            self.resource, self._namespace, labels=self._labels, fields=self._fields, metadata_only=self._metadata_only
        )
        self.lists += 1
        fresh: dict[str, Obj] = {}
        for obj in found["items"]:
            obj.setdefault("apiVersion", self.resource.api_version)
            obj.setdefault("kind", self.resource.kind)
            fresh[meta.key(obj)] = obj
        for key in [key for key in self._objects if key not in fresh]:
            self._put(key, None)
        for count, (key, obj) in enumerate(fresh.items()):
            if count % PIECE == PIECE - 1:
                await asyncio.sleep(0)  # others have their turn
            old = self._objects.get(key)
            if old is None or old["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._put(key, obj)
        self.revision = found["metadata"]["resourceVersion"]
        self._synced.set()

    async def _follow(self) -> None:
        events = self._client.watch(
            self.resource,
            self._namespace,
            labels=self._labels,
            fields=self._fields,
            resource_version=self.revision,
            metadata_only=self._metadata_only,
        )
        async for event in events:
            if event.type == "DELETED":
                self._put(meta.key(event.object), None, last=event.object)
            elif event.type in ("ADDED", "MODIFIED"):
                self._put(meta.key(event.object), event.object)
            self.revision = event.object["metadata"]["resourceVersion"]

    def _put(self, key: str, new: Obj | None, last: Obj | None = None) -> None:
        old = self._objects.get(key)
        if old is not None and last is not None and meta.uid(last) != meta.uid(old):
            last = None  # the end of another of that name, told late: who leaves the picture is whom it showed
        if new is None:
            if old is None:
                return
            self._drop(key, old)
            self._tell(last or old, None)
            return
        if old is not None and meta.uid(old) != meta.uid(new):
            self._drop(key, old)
            self._tell(old, None)
            old = None
        self._reindex(key, old, new)
        self._objects[key] = new
        self._spaces.setdefault(meta.namespace(new), {})[meta.name(new)] = new
        self._tell(old, new)

    def _drop(self, key: str, old: Obj) -> None:
        self._reindex(key, old, None)
        del self._objects[key]
        space = self._spaces[meta.namespace(old)]
        del space[meta.name(old)]
        if not space:
            del self._spaces[meta.namespace(old)]

    def _reindex(self, key: str, old: Obj | None, new: Obj | None) -> None:
        for name, index in self._indexes.items():
            table = self._indexed[name]
            before = set(index(old)) if old is not None else set()
            after = set(index(new)) if new is not None else set()
            for value in before - after:
                table[value].discard(key)
                if not table[value]:
                    del table[value]
            for value in after - before:
                table.setdefault(value, set()).add(key)

    def _tell(self, old: Obj | None, new: Obj | None) -> None:
        for handler in self._handlers:
            handler(old, new)


class InformerSet:
    """Informers shared by all controllers of a process: one for what is looked at of a resource, on one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[tuple[Resource, str, bool], Informer] = {}

    def __getitem__(self, resource: Resource) -> Informer:
        return self._of(resource)

    def selected(self, resource: Resource, fields: str) -> Informer:
        """Only those that a field selector selects."""
        return self._of(resource, fields)

    def metadata(self, resource: Resource) -> Informer:
        """Of objects nobody else looks at as a whole only the metadata: there may be very many. To be asked for last."""
        return self._informers.get((resource, "", False)) or self._of(resource, metadata_only=True)

    def _of(self, resource: Resource, fields: str = "", *, metadata_only: bool = False) -> Informer:
        key = (resource, fields, metadata_only)
        if key not in self._informers:
            self._informers[key] = Informer(self._client, resource, fields=fields, metadata_only=metadata_only)
        return self._informers[key]

    def __iter__(self) -> Iterator[Informer]:
        return iter([*self._informers.values()])

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers.values():
                tasks.create_task(informer.run(), name=f"informer {informer.resource.qualified}")

    async def wait_synced(self) -> None:
        for informer in [*self._informers.values()]:
            await informer.wait_synced()
