"""The outside of endpoints: Services and pods in, EndpointSlices and Endpoints out, each written only when it says something else.

Objects of a Service that is gone are the garbage collector's (slices by owner) or go here (Endpoints, which have none).
"""

from __future__ import annotations

from holdfast.client.api import Client
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.endpoints import decide
from holdfast.controllers.pods import has_ended
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES
from holdfast.machinery import meta, selectors
from holdfast.machinery.errors import ApiError


class _Services:
    """What both controllers share: which Services a change of a pod concerns, and the pods of a Service."""

    def __init__(self, informers: InformerSet, reconciler: Reconciler) -> None:
        self.services = informers[SERVICES]
        self.pods = informers[PODS]
        self._queue = reconciler.queue
        self.services.on_change(lambda old, new: self._queue.add(meta.key(new or old or {})))
        self.pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and new is not None and _told(old) == _told(new):
            return
        pod = new or old
        assert pod is not None
        for service in self.services.list(meta.namespace(pod)):
            wanted = decide.selects(service)
            if wanted and any(p is not None and selectors.from_map(dict(wanted)).matches(meta.labels_of(p)) for p in (old, new)):
                self._queue.add(meta.key(service))

    def members(self, service: Obj) -> list[Obj]:
        wanted = selectors.from_map(dict(decide.selects(service) or {}))
        pods = self.pods.list(meta.namespace(service))
        return [pod for pod in pods if wanted.matches(meta.labels_of(pod)) and decide.is_endpoint(pod)]


def _told(pod: Obj) -> tuple[object, ...]:
    """What endpoints are made of."""
    status = pod.get("status") or {}
    return (
        status.get("podIP"),
        has_ended(pod),
        meta.condition_true(pod, "Ready"),
        meta.is_terminating(pod),
        pod["spec"].get("nodeName"),
        tuple(sorted(meta.labels_of(pod).items())),
    )


class EndpointSliceController:
    def __init__(self, client: Client, informers: InformerSet) -> None:
        self._client = client
        self._slices = informers[ENDPOINTSLICES]
        watched = (informers[SERVICES], informers[PODS], self._slices)
        self.reconciler = Reconciler("endpointslice", watched, self._sync)
        self._services = _Services(informers, self.reconciler)
        self._slices.add_index("service", lambda piece: [_owner_key(piece)])
        self._slices.on_change(self._slice_changed)
        self._created: dict[str, int] = {}
        """Revision of the last slice made for a Service: until the picture shows it, another would be one too many (SCEN-17)."""

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        for piece in (old, new):
            if piece is not None and meta.labels_of(piece).get(decide.MANAGED_BY) == decide.MANAGER:
                self.reconciler.queue.add(_owner_key(piece))

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        service = self._services.services.get(name, namespace)
        if service is None or decide.selects(service) is None or meta.is_terminating(service):
            self._created.pop(key, None)
            return
        if int(self._slices.revision or 0) < self._created.get(key, 0):
            self.reconciler.queue.add_after(key, 1.0)  # the event of our own write will wake it sooner
            return
        present = [
            piece
            for piece in self._slices.by_index("service", key)
            if meta.labels_of(piece).get(decide.MANAGED_BY) == decide.MANAGER and meta.is_controlled_by(piece, service)
        ]
        wanted = decide.slices(service, self._services.members(service))
        labels = decide.labels_for(service)
        for piece in wanted:
            match = next((p for p in present if decide.same_ports(p.get("ports"), piece["ports"])), present[0] if present else None)
            if match is None:
                await self._create(service, labels, piece)
                continue
            present.remove(match)
            await self._update(match, labels, piece)
        for surplus in present:
            await _delete(self._client, surplus)

    async def _create(self, service: Obj, labels: dict[str, str], piece: Obj) -> None:
        metadata = {
            "generateName": f"{meta.name(service)}-",
            "namespace": meta.namespace(service),
            "labels": labels,
            "ownerReferences": [meta.owner_reference(service)],
        }
        body = {"metadata": metadata, "addressType": "IPv4", **piece}
        made = await self._client.create(ENDPOINTSLICES, body, meta.namespace(service))
        self._created[meta.key(service)] = meta.revision(made)

    async def _update(self, present: Obj, labels: dict[str, str], piece: Obj) -> None:
        same = (present.get("endpoints") or []) == piece["endpoints"] and decide.same_ports(present.get("ports"), piece["ports"])
        if same and dict(meta.labels_of(present)) == labels:
            return
        metadata = {**present["metadata"], "labels": labels}
        await self._client.update(ENDPOINTSLICES, {**present, "metadata": metadata, **piece})


def _owner_key(piece: Obj) -> str:
    return f"{meta.namespace(piece)}/{meta.labels_of(piece).get(decide.SERVICE_NAME, '')}"


async def _delete(client: Client, piece: Obj) -> None:
    try:
        await client.delete(ENDPOINTSLICES, meta.name(piece), meta.namespace(piece), uid=meta.uid(piece))
    except ApiError as error:
        if error.code not in (404, 409):
            raise


class EndpointsController:
    def __init__(self, client: Client, informers: InformerSet) -> None:
        self._client = client
        self._endpoints = informers[ENDPOINTS]
        watched = (informers[SERVICES], informers[PODS], self._endpoints)
        self.reconciler = Reconciler("endpoints", watched, self._sync)
        self._services = _Services(informers, self.reconciler)
        self._endpoints.on_change(lambda old, new: self.reconciler.queue.add(meta.key(new or old or {})))

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        service = self._services.services.get(name, namespace)
        present = self._endpoints.get(name, namespace)
        if service is None:
            await self._orphaned(present)
            return
        if decide.selects(service) is None or meta.is_terminating(service):
            return
        subsets = decide.subsets(service, self._services.members(service))
        labels = decide.endpoints_labels(service)
        if present is None:
            metadata = {"name": name, "namespace": namespace, "labels": labels}
            await self._client.create(ENDPOINTS, {"metadata": metadata, "subsets": subsets}, namespace)
            return
        if _same(present.get("subsets"), subsets) and dict(meta.labels_of(present)) == labels:
            return
        await self._client.update(ENDPOINTS, {**present, "metadata": {**present["metadata"], "labels": labels}, "subsets": subsets})

    async def _orphaned(self, present: Obj | None) -> None:
        """Ours, of a Service that the server itself says is gone. Endpoints kept by hand stay."""
        if present is None or decide.ENDPOINTS_MANAGED_BY not in meta.labels_of(present):
            return
        try:
            await self._client.get(SERVICES, meta.name(present), meta.namespace(present))
            return
        except ApiError as error:
            if error.code != 404:
                raise
        try:
            await self._client.delete(ENDPOINTS, meta.name(present), meta.namespace(present), uid=meta.uid(present))
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _same(one: list[Obj] | None, other: list[Obj]) -> bool:
    def form(subset: Obj) -> tuple[object, ...]:
        return (subset.get("addresses") or [], subset.get("notReadyAddresses") or [])

    one = one or []
    if len(one) != len(other):
        return False
    pairs = zip(one, other, strict=True)
    return all(form(a) == form(b) and decide.same_ports(a.get("ports"), b.get("ports")) for a, b in pairs)
