"""A namespace that is being deleted: its content goes first, then its finalizer, then (by that) itself.

Every list is live, so nothing that was created a moment ago is left behind; every delete carries the uid that
was seen. Pods have their grace period; claims go after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.client.api import Client, find
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.namespace import decide
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import NAMESPACES
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

FINALIZER = "kubernetes"
AGAIN_SECONDS = 5.0
"""Looked at again without any event: what is not watched (events, new kinds) may be left."""


class NamespaceController:
    def __init__(self, client: Client, informers: InformerSet, resources: Iterable[Resource], now: Callable[[], float]) -> None:
        """``resources``: all that is namespaced and can be listed and deleted."""
        self._client = client
        self._now = now
        self._resources = decide.order([r for r in resources if r.namespaced])
        self._namespaces = informers[NAMESPACES]
        self.reconciler = Reconciler("namespace", (self._namespaces,), self._sync)
        self._namespaces.on_change(lambda _old, new: self._consider(meta.name(new)) if new else None)
        for informer in informers:
            if informer.resource.namespaced:
                informer.on_change(self._content_changed)

    def _content_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._consider(meta.namespace(old))

    def _consider(self, name: str) -> None:
        namespace = self._namespaces.get(name)
        if namespace is not None and meta.is_terminating(namespace):
            self.reconciler.queue.add(name)

    async def _sync(self, name: str) -> None:
        namespace = await find(self._client, NAMESPACES, name)
        if namespace is None or not meta.is_terminating(namespace):
            return
        left, failures = await self._empty(name)
        namespace = await self._report(namespace, left, failures)
        if left or failures:
            self.reconciler.queue.add_after(name, AGAIN_SECONDS)
            return
        kept = [f for f in (namespace.get("spec") or {}).get("finalizers") or [] if f != FINALIZER]
        await self._client.update(NAMESPACES, {**namespace, "spec": {"finalizers": kept}}, subresource="finalize")

    async def _empty(self, name: str) -> tuple[dict[Resource, list[Obj]], list[str]]:
        """Deletes what can be deleted now; returns what is left after that, and what could not be done."""
        left: dict[Resource, list[Obj]] = {}
        failures: list[str] = []
        for step in self._resources:
            for resource in step:
                try:
                    for obj in (await self._client.list(resource, name))["items"]:
                        if not meta.is_terminating(obj):
                            await self._delete(resource, obj)
                    remaining = (await self._client.list(resource, name))["items"]
                except ApiError as error:
                    failures.append(f"{resource.plural}: {error.message}")
                    continue
                if remaining:
                    left[resource] = remaining
            if left and step is self._resources[0]:
                break
        return left, failures

    async def _delete(self, resource: Resource, obj: Obj) -> None:
        try:
            await self._client.delete(resource, meta.name(obj), meta.namespace(obj), uid=meta.uid(obj), propagation="Background")
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _report(self, namespace: Obj, left: dict[Resource, list[Obj]], failures: list[str]) -> Obj:
        held = (namespace.get("status") or {}).get("conditions") or []
        wanted = decide.conditions(left, failures, held, rfc3339(self._now()))
        if wanted == held:
            return namespace
        body = {**namespace, "status": {**(namespace.get("status") or {}), "conditions": wanted}}
        return await self._client.update(NAMESPACES, body, subresource="status")
