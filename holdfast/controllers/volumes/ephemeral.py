"""Ephemeral volumes of pods: a claim each, made for the pod, owned by it, gone with it (the garbage collector sees to that).

A claim of that name that is not the pod's own is never used: that is said, and looked at again.
"""

from __future__ import annotations

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.volumes.controller import BY_CLAIM, used_claims
from holdfast.kinds.core.claims import ephemeral, foreign
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PODS
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

COMPONENT = "ephemeral_volume"


def claim_of(pod: Obj, volume: str, name: str) -> Obj:
    """The claim that stands for a pod's ephemeral ``volume``."""
    source = next(v["ephemeral"] for v in pod["spec"]["volumes"] if v["name"] == volume)
    template = source["volumeClaimTemplate"]
    given = {k: v for k, v in (template.get("metadata") or {}).items() if k in ("labels", "annotations") and v}
    owner = meta.owner_reference({"apiVersion": "v1", "kind": "Pod", "metadata": pod["metadata"]})
    metadata = {"name": name, "namespace": meta.namespace(pod), "ownerReferences": [owner], **given}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}


class EphemeralVolumes:
    def __init__(self, client: Client, informers: InformerSet, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._pods = informers[PODS]
        self._claims = informers[PERSISTENTVOLUMECLAIMS]
        self._pods.add_index(BY_CLAIM, used_claims)
        self.reconciler = Reconciler("ephemeral-volumes", (self._pods, self._claims), self._sync)
        self._pods.on_change(lambda old, new: self._consider(new) if old is None else None)
        self._claims.on_change(self._claim_changed)

    def _consider(self, pod: Obj | None) -> None:
        if pod is not None and not meta.is_terminating(pod) and ephemeral(pod):
            self.reconciler.queue.add(meta.key(pod))

    def _claim_changed(self, _old: Obj | None, new: Obj | None) -> None:
        if new is None and _old is not None:
            for pod in self._pods.by_index(BY_CLAIM, meta.key(_old)):
                self._consider(pod)

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None or meta.is_terminating(pod):
            return
        for volume, claim in ephemeral(pod).items():
            why = await self._ensure(pod, volume, claim)
            if why:
                text = f"ephemeral volume {volume}: {why}"
                self._recorder.event(pod, "Warning", "FailedBinding", text)
                raise OSError(f"pod {key}, {text}")

    async def _ensure(self, pod: Obj, volume: str, name: str) -> str:
        """Why there is no such claim; "" when there is."""
        found = self._claims.get(name, meta.namespace(pod))
        if found is not None and not foreign(pod, found):
            return ""
        try:
            await self._client.create(PERSISTENTVOLUMECLAIMS, claim_of(pod, volume, name), meta.namespace(pod))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                return f"create PVC {name}: {error.message}"
            found = await self._client.get(PERSISTENTVOLUMECLAIMS, name, meta.namespace(pod))
            return foreign(pod, found)
        return ""
