"""Whose an object is: found by its controller, adopted when it is nobody's and fits, let go when it fits no more.

Every kind that keeps others does this in the same way; what fits is its own affair. An orphan is adopted after a live look at
who adopts: a cached one may be deleted already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdfast.client.api import Client
from holdfast.client.informer import Informer
from holdfast.kinds.kind import Obj, Resource
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError
from holdfast.machinery.selectors import LabelSelector

OWNER = "controller"
"""The index of an informer by ``controller_index``."""


def controller_index(obj: Obj) -> list[str]:
    """The uid of its controller; what has none is found by its namespace."""
    owner = meta.controller_of(obj)
    return [owner["uid"] if owner else f"/{meta.namespace(obj)}"]


def controller_among(informer: Informer, obj: Obj) -> Obj | None:
    """The controller of an object, if it is one of the informer's kind, and there, and not another of that name."""
    reference = meta.controller_of(obj)
    kind = informer.resource
    if reference is None or (reference["apiVersion"], reference["kind"]) != (kind.api_version, kind.kind):
        return None
    found = informer.get(reference["name"], meta.namespace(obj))
    return found if found is not None and meta.uid(found) == reference["uid"] else None


def concerned(owners: Informer, old: Obj | None, new: Obj | None, selector: Callable[[Obj], LabelSelector]) -> Iterator[Obj]:
    """Who is to look at a change: its controller before and after; if it is nobody's and that or its labels are news, all it fits."""
    for obj in (old, new):
        owner = controller_among(owners, obj) if obj else None
        if owner is not None:
            yield owner
    if new is None or meta.controller_of(new) is not None:
        return
    if old is None or meta.labels_of(old) != meta.labels_of(new) or meta.controller_of(old) is not None:
        for candidate in owners.list(meta.namespace(new)):
            if selector(candidate).matches(meta.labels_of(new)):
                yield candidate


def owned(informer: Informer, uid: str) -> list[Obj]:
    """What has the controller of that uid; for ``/NAMESPACE`` what has none there."""
    return informer.by_index(OWNER, uid)


def concerning(informer: Informer, owner: Obj) -> list[Obj]:
    """What is the owner's, and what is nobody's."""
    found = [*owned(informer, meta.uid(owner)), *owned(informer, f"/{meta.namespace(owner)}")]
    return sorted(found, key=meta.key)


class Claims:
    """Claims objects of one kind for owners of another, as seen by an informer with the index ``OWNER``.

    ``finalizer``: one that an object carries while it is somebody's.
    """

    def __init__(self, client: Client, owners: Resource, informer: Informer, finalizer: str = "") -> None:
        self._client = client
        self._owners = owners
        self._informer = informer
        self._finalizer = finalizer

    async def take(self, owner: Obj, wanted: LabelSelector, candidate: Callable[[Obj], bool] = lambda _obj: True) -> list[Obj]:
        """What is the owner's. Adopts and releases on the way, unless the owner is being deleted. Raises ApiError."""
        found = []
        going = meta.is_terminating(owner)
        for obj in concerning(self._informer, owner):
            if not candidate(obj):
                continue
            fits = wanted.matches(meta.labels_of(obj))
            if meta.controller_of(obj) is not None:
                if fits:
                    found.append(obj)
                elif not going:
                    await self.release(obj, owner)
            elif fits and not going and not meta.is_terminating(obj):
                found.append(await self.adopt(obj, owner))
        return found

    async def adopt(self, obj: Obj, owner: Obj) -> Obj:
        """The object as it is afterwards. Raises ApiError 409 when the owner is not what it was."""
        live = await self._client.get(self._owners, meta.name(owner), meta.namespace(owner))
        if meta.uid(live) != meta.uid(owner) or meta.is_terminating(live):
            raise ApiError(409, "Conflict", f"{meta.name(owner)} is not what it was: nothing is adopted")
        return await self._set_owners(obj, [*(obj["metadata"].get("ownerReferences") or []), meta.owner_reference(owner)])

    async def release(self, obj: Obj, owner: Obj) -> Obj:
        left = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != meta.uid(owner)]
        return await self._set_owners(obj, left or None, kept=False)

    async def _set_owners(self, obj: Obj, references: list[Obj] | None, *, kept: bool = True) -> Obj:
        patch: Obj = {"metadata": {"uid": meta.uid(obj), "ownerReferences": references}}
        if self._finalizer:
            others = [f for f in obj["metadata"].get("finalizers") or [] if f != self._finalizer]
            finalizers = [*others, self._finalizer] if kept else others
            patch["metadata"] |= {"finalizers": finalizers or None, "resourceVersion": obj["metadata"]["resourceVersion"]}
        return await self._client.patch(self._informer.resource, meta.name(obj), meta.namespace(obj), patch)
