"""Finalizers of claims, volumes and classes in use: taken off only after the server itself says that nobody uses them (P-15)."""

from __future__ import annotations

from holdfast.client.api import Client
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.pods import has_ended
from holdfast.kinds.core.claims import claims_of, ephemeral, foreign
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, VOLUMEATTRIBUTESCLASSES
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
CLASS_FINALIZER = "kubernetes.io/vac-protection"


class ClaimProtection:
    def __init__(self, client: Client, informers: InformerSet) -> None:
        self._client = client
        self._claims = informers[PERSISTENTVOLUMECLAIMS]
        pods = informers[PODS]
        self.reconciler = Reconciler("pvc-protection", (self._claims, pods), self._sync)
        self._claims.on_change(lambda _old, new: self._consider(new))
        pods.on_change(self._pod_changed)

    def _consider(self, claim: Obj | None) -> None:
        if claim is not None and meta.is_terminating(claim):
            self.reconciler.queue.add(meta.key(claim))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        for pod in (old, new):
            for name in claims_of(pod).values() if pod else ():
                assert pod is not None
                self._consider(self._claims.get(name, meta.namespace(pod)))

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        claim = self._claims.get(name, namespace)
        if claim is None or not meta.is_terminating(claim) or CLAIM_FINALIZER not in (claim["metadata"].get("finalizers") or []):
            return
        live = await self._client.list(PODS, namespace)
        if any(uses(pod, claim) for pod in live["items"]):
            return
        await remove_finalizer(self._client, PERSISTENTVOLUMECLAIMS, claim, CLAIM_FINALIZER)


def uses(pod: Obj, claim: Obj) -> bool:
    """Whether a claim may not go for a pod's sake.

    One that was never given a node cannot start any more once its claim is going; one that has ended keeps its claim until its
    record is removed, but an ephemeral volume, which goes with the pod.
    """
    if not pod["spec"].get("nodeName"):
        return False
    own = ephemeral(pod)
    for volume, name in claims_of(pod).items():
        if name == meta.name(claim) and (volume not in own or not (_is_shut_down(pod) or foreign(pod, claim))):
            return True
    return False


def _is_shut_down(pod: Obj) -> bool:
    return has_ended(pod) or (meta.is_terminating(pod) and pod["metadata"].get("deletionGracePeriodSeconds") == 0)


class VolumeProtection:
    def __init__(self, client: Client, informers: InformerSet) -> None:
        self._client = client
        self._volumes = informers[PERSISTENTVOLUMES]
        self.reconciler = Reconciler("pv-protection", (self._volumes,), self._sync)
        self._volumes.on_change(lambda _old, new: self._consider(new))

    def _consider(self, volume: Obj | None) -> None:
        if volume is not None and meta.is_terminating(volume):
            self.reconciler.queue.add(meta.name(volume))

    async def _sync(self, name: str) -> None:
        volume = self._volumes.get(name)
        if volume is None or not meta.is_terminating(volume) or VOLUME_FINALIZER not in (volume["metadata"].get("finalizers") or []):
            return
        live = await self._client.get(PERSISTENTVOLUMES, name)
        if (live.get("status") or {}).get("phase") == "Bound":  # the binder says when it no longer is
            return
        await remove_finalizer(self._client, PERSISTENTVOLUMES, live, VOLUME_FINALIZER)


class ClassProtection:
    """A VolumeAttributesClass stays while a claim or a volume names it."""

    def __init__(self, client: Client, informers: InformerSet) -> None:
        self._client = client
        self._classes = informers[VOLUMEATTRIBUTESCLASSES]
        users = (informers[PERSISTENTVOLUMECLAIMS], informers[PERSISTENTVOLUMES])
        self.reconciler = Reconciler("vac-protection", (self._classes, *users), self._sync)
        self._classes.on_change(lambda _old, new: self._consider(new))
        for informer in users:
            informer.on_change(self._user_changed)

    def _consider(self, attributes: Obj | None) -> None:
        if attributes is not None and meta.is_terminating(attributes):
            self.reconciler.queue.add(meta.name(attributes))

    def _user_changed(self, old: Obj | None, new: Obj | None) -> None:
        left = classes_of(old) - classes_of(new) if old else set()
        for name in left:
            self._consider(self._classes.get(name))

    async def _sync(self, name: str) -> None:
        found = self._classes.get(name)
        if found is None or not meta.is_terminating(found) or CLASS_FINALIZER not in (found["metadata"].get("finalizers") or []):
            return
        for resource in (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES):
            live = await self._client.list(resource)
            if any(name in classes_of(user) for user in live["items"]):
                return
        await remove_finalizer(self._client, VOLUMEATTRIBUTESCLASSES, found, CLASS_FINALIZER)


def classes_of(user: Obj | None) -> set[str]:
    """The VolumeAttributesClasses that a claim or volume has, or is on its way to or from."""
    spec, status = (user or {}).get("spec") or {}, (user or {}).get("status") or {}
    target = (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName")
    named = (spec.get("volumeAttributesClassName"), status.get("currentVolumeAttributesClassName"), target)
    return {name for name in named if name}


async def remove_finalizer(client: Client, resource: Resource, obj: Obj, finalizer: str) -> None:
    left = [f for f in obj["metadata"].get("finalizers") or [] if f != finalizer]
    patch = {
        "metadata": {
            "uid": meta.uid(obj),
            "resourceVersion": obj["metadata"]["resourceVersion"],
            "finalizers": left or None,
        }
    }
    try:
        await client.patch(resource, meta.name(obj), meta.namespace(obj), patch)
    except ApiError as error:
        if error.code != 404:
            raise
