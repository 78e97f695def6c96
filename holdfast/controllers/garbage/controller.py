"""The outside of garbage collection: the graph of owners from informers on every kind, verdicts confirmed by live reads.

A key is ``plural.group/version|namespace/name``. Before anything is deleted the object and each owner that the picture
lacks are read from the server, and the delete carries uid and resourceVersion (R-20, P-16).
"""

from __future__ import annotations

import functools

from holdfast.client.api import Client
from holdfast.client.informer import Informer, InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.garbage.decide import FOREGROUND, ORPHAN, Owner, blocks, decide, is_waiting
from holdfast.kinds.kind import Obj, Resource
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError


class GarbageCollector:
    def __init__(self, client: Client, informers: InformerSet, resources: list[Resource]) -> None:
        self._client = client
        self._resources = {_text(resource): resource for resource in resources}
        self._kinds = {(r.api_version, r.kind): r for r in resources}
        self._informers: dict[Resource, Informer] = {resource: informers.metadata(resource) for resource in resources}
        self._present: dict[str, Obj] = {}
        self._dependents: dict[str, set[str]] = {}
        self.reconciler = Reconciler("garbage", self._informers.values(), self._sync, workers=4)
        for resource, informer in self._informers.items():
            informer.on_change(functools.partial(self._changed, resource))

    def _changed(self, resource: Resource, old: Obj | None, new: Obj | None) -> None:
        for owner in _owners(old):
            key = _key(resource, old)
            self._dependents.get(owner, set()).discard(key)
            if not self._dependents.get(owner):
                self._dependents.pop(owner, None)
            if owner not in _owners(new):
                self._wake(owner)
        if new is None:
            assert old is not None
            self._present.pop(meta.uid(old), None)
            for dependent in self._dependents.get(meta.uid(old), ()):
                self.reconciler.queue.add(dependent)
            return
        self._present[meta.uid(new)] = new
        for owner in _owners(new):
            self._dependents.setdefault(owner, set()).add(_key(resource, new))
            if owner not in self._present or is_waiting(self._present[owner]):
                self.reconciler.queue.add(_key(resource, new))
        if meta.is_terminating(new) and {ORPHAN, FOREGROUND} & set(new["metadata"].get("finalizers") or []):
            self.reconciler.queue.add(_key(resource, new))
            for dependent in self._dependents.get(meta.uid(new), ()):
                self.reconciler.queue.add(dependent)

    def _wake(self, uid: str) -> None:
        """An owner that waits for its dependents looks again when one of them has gone."""
        owner = self._present.get(uid)
        resource = self._kinds.get((owner.get("apiVersion", ""), owner.get("kind", ""))) if owner else None
        if owner is not None and resource is not None and meta.is_terminating(owner):
            self.reconciler.queue.add(_key(resource, owner))

    async def _sync(self, key: str) -> None:
        text, _, rest = key.partition("|")
        resource = self._resources[text]
        namespace, name = meta.split_key(rest)
        try:
            obj = await self._client.get(resource, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return
            raise
        finalizers = obj["metadata"].get("finalizers") or []
        if meta.is_terminating(obj) and ORPHAN in finalizers:
            await self._orphan(resource, obj)
        elif meta.is_terminating(obj) and FOREGROUND in finalizers:
            await self._foreground(resource, obj)
        else:
            await self._judge(resource, obj)

    async def _judge(self, resource: Resource, obj: Obj) -> None:
        states = {r["uid"]: await self._state(resource, obj, r) for r in obj["metadata"].get("ownerReferences") or []}
        verdict = decide(obj, states, has_dependents=bool(self._dependents.get(meta.uid(obj))))
        metadata = obj["metadata"]
        try:
            if verdict.policy:
                await self._client.delete(
                    resource,
                    meta.name(obj),
                    meta.namespace(obj),
                    uid=meta.uid(obj),
                    resource_version=metadata["resourceVersion"],
                    propagation=verdict.policy,
                )
            elif verdict.keep is not None:
                await self._keep(resource, obj, verdict.keep)
        except ApiError as error:
            if error.code != 404:
                raise

    async def _keep(self, resource: Resource, obj: Obj, references: list[Obj]) -> None:
        patch = {
            "metadata": {
                "uid": meta.uid(obj),
                "resourceVersion": obj["metadata"]["resourceVersion"],
                "ownerReferences": references or None,
            }
        }
        await self._client.patch(resource, meta.name(obj), meta.namespace(obj), patch)

    async def _state(self, resource: Resource, obj: Obj, reference: Obj) -> Owner:
        known = self._present.get(reference["uid"])
        if known is not None:
            return Owner.WAITS if is_waiting(known) else Owner.LIVES
        kind = self._kinds.get((reference["apiVersion"], reference["kind"])) or self._any_version(reference)
        if kind is None or (kind.namespaced and not resource.namespaced):
            return Owner.UNKNOWN
        try:
            owner = await self._client.get(kind, reference["name"], meta.namespace(obj) if kind.namespaced else "")
        except ApiError as error:
            if error.code == 404:
                return Owner.GONE
            raise
        if meta.uid(owner) != reference["uid"]:
            return Owner.GONE
        return Owner.WAITS if is_waiting(owner) else Owner.LIVES

    def _any_version(self, reference: Obj) -> Resource | None:
        group = reference["apiVersion"].rpartition("/")[0]
        return next((r for r in self._resources.values() if r.group == group and r.kind == reference["kind"]), None)

    async def _orphan(self, resource: Resource, obj: Obj) -> None:
        """Dependents lose the reference, then the owner its finalizer."""
        for key in [*self._dependents.get(meta.uid(obj), ())]:
            text, _, rest = key.partition("|")
            namespace, name = meta.split_key(rest)
            try:
                dependent = await self._client.get(self._resources[text], name, namespace)
                left = [r for r in dependent["metadata"].get("ownerReferences") or [] if r["uid"] != meta.uid(obj)]
                await self._keep(self._resources[text], dependent, left)
            except ApiError as error:
                if error.code != 404:
                    raise
        await self._remove_finalizer(resource, obj, ORPHAN)

    async def _foreground(self, resource: Resource, obj: Obj) -> None:
        """The owner goes when nothing that blocks it is left; dependents are judged on their own."""
        for key in self._dependents.get(meta.uid(obj), ()):
            text, _, rest = key.partition("|")
            namespace, name = meta.split_key(rest)
            dependent = self._informers[self._resources[text]].get(name, namespace)
            if dependent is not None and blocks(dependent, obj):
                self.reconciler.queue.add(key)
                return
        await self._remove_finalizer(resource, obj, FOREGROUND)

    async def _remove_finalizer(self, resource: Resource, obj: Obj, finalizer: str) -> None:
        left = [f for f in obj["metadata"].get("finalizers") or [] if f != finalizer]
        patch = {"metadata": {"uid": meta.uid(obj), "resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": left or None}}
        try:
            await self._client.patch(resource, meta.name(obj), meta.namespace(obj), patch)
        except ApiError as error:
            if error.code != 404:
                raise


def _text(resource: Resource) -> str:
    return f"{resource.qualified}/{resource.version}"


def _key(resource: Resource, obj: Obj | None) -> str:
    return f"{_text(resource)}|{meta.key(obj)}" if obj is not None else ""


def _owners(obj: Obj | None) -> list[str]:
    return [r["uid"] for r in (obj["metadata"].get("ownerReferences") or [])] if obj is not None else []
