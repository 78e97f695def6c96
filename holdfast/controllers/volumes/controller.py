"""The binder: claims and volumes one to one, by uid, for life (P-3).

Two writes, in this order: the volume's claimRef with the claim's uid, then the claim's volumeName; a crash in
between is mended by the next sync. A volume whose claim is gone is Released, never bound anew. Its data
is the provisioner's to delete (``controllers.provisioner``), after a live look of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.volumes import decide
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"


class VolumeBinder:
    def __init__(self, client: Client, informers: InformerSet, recorder: EventRecorder, now: Callable[[], float]) -> None:
        self._client = client
        self._recorder = recorder
        self._now = now
        self._claims = informers[PERSISTENTVOLUMECLAIMS]
        self._volumes = informers[PERSISTENTVOLUMES]
        self._classes = informers[STORAGECLASSES]
        self._nodes = informers[NODES]
        watched = (self._claims, self._volumes, self._classes, self._nodes)
        self.claims = Reconciler("claims", watched, self._sync_claim, workers=1)
        self.volumes = Reconciler("volumes", watched, self._sync_volume, workers=1)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(lambda _old, _new: self._pending())

    def _claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        claim = new or old
        assert claim is not None
        self.claims.queue.add(meta.key(claim))
        if claim["spec"].get("volumeName"):
            self.volumes.queue.add(claim["spec"]["volumeName"])

    def _volume_changed(self, old: Obj | None, new: Obj | None) -> None:
        volume = new or old
        assert volume is not None
        self.volumes.queue.add(meta.name(volume))
        reference = volume["spec"].get("claimRef")
        if reference:
            self.claims.queue.add(f"{reference.get('namespace')}/{reference['name']}")
        else:
            self._pending()

    def _pending(self) -> None:
        for claim in self._claims.list():
            if not claim["spec"].get("volumeName"):
                self.claims.queue.add(meta.key(claim))

    # Claims

    async def _sync_claim(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        claim = self._claims.get(name, namespace)
        if claim is None:
            return
        if BIND_COMPLETED in meta.annotations_of(claim):
            await self._check_bound(claim)
            return
        if meta.is_terminating(claim):
            return
        volume = decide.choose(claim, self._volumes.list())
        waits = self._waits_for_consumer(claim)
        if volume is not None and (not waits or decide.refers(volume, claim) or claim["spec"].get("volumeName")):
            await self._bind(claim, volume)
            return
        if volume is not None and SELECTED_NODE in meta.annotations_of(claim):
            await self._bind(claim, volume)
            return
        await self._say_why(claim, waits)

    def _waits_for_consumer(self, claim: Obj) -> bool:
        found = self._classes.get(claim["spec"].get("storageClassName") or "")
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"

    async def _say_why(self, claim: Obj, waits: bool) -> None:
        name = claim["spec"].get("storageClassName") or ""
        found = self._classes.get(name)
        if not name:
            text = "no persistent volumes available for this claim and no storage class is set"
            self._recorder.event(claim, "Normal", "FailedBinding", text)
        elif found is None:
            self._recorder.event(claim, "Warning", "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found')
        elif SELECTED_NODE in meta.annotations_of(claim) or not waits:
            await self._ask_provisioner(claim, found)
        else:
            text = "waiting for first consumer to be created before binding"
            self._recorder.event(claim, "Normal", "WaitForFirstConsumer", text)

    async def _ask_provisioner(self, claim: Obj, found: Obj) -> None:
        """Marks the claim for its class's provisioner; an Immediate class has its node chosen here."""
        annotations = {PROVISIONER: found["provisioner"]}
        if SELECTED_NODE not in meta.annotations_of(claim):
            ready = sorted(meta.name(n) for n in self._nodes.list() if meta.condition_true(n, "Ready"))
            if not ready or claim["spec"].get("selector"):
                return
            annotations[SELECTED_NODE] = ready[0]
        if all(meta.annotations_of(claim).get(k) == v for k, v in annotations.items()):
            return
        patch = {"metadata": {"resourceVersion": claim["metadata"]["resourceVersion"], "annotations": annotations}}
        await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch)
        text = (
            f"Waiting for a volume to be created either by the external provisioner '{found['provisioner']}'"
            " or manually by the system administrator."
        )
        self._recorder.event(claim, "Normal", "ExternalProvisioning", text)

    async def _bind(self, claim: Obj, volume: Obj) -> None:
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") != meta.uid(claim):
            wanted = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta.namespace(claim),
                "name": meta.name(claim),
                "uid": meta.uid(claim),
                "resourceVersion": claim["metadata"]["resourceVersion"],
            }
            metadata: Obj = {"resourceVersion": volume["metadata"]["resourceVersion"]}
            if not reference:
                metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
            volume = await self._client.patch(
                PERSISTENTVOLUMES, meta.name(volume), "", {"metadata": metadata, "spec": {"claimRef": wanted}}
            )
        await self._set_phase(volume, "Bound")
        annotations = {BIND_COMPLETED: "yes"}
        if not claim["spec"].get("volumeName"):
            annotations[BOUND_BY_CONTROLLER] = "yes"
        patch = {
            "metadata": {"resourceVersion": claim["metadata"]["resourceVersion"], "annotations": annotations},
            "spec": {"volumeName": meta.name(volume)},
        }
        claim = await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch)
        await self._bound_status(claim, volume)

    async def _bound_status(self, claim: Obj, volume: Obj) -> None:
        status = {
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": {"storage": volume["spec"]["capacity"]["storage"]},
        }
        present = claim.get("status") or {}
        if all(present.get(k) == v for k, v in status.items()):
            return
        patch = {"metadata": {"uid": meta.uid(claim)}, "status": status}
        await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch, subresource="status")

    async def _check_bound(self, claim: Obj) -> None:
        volume = self._volumes.get(claim["spec"].get("volumeName") or "")
        if volume is None or not decide.refers(volume, claim):
            try:
                volume = await self._client.get(PERSISTENTVOLUMES, claim["spec"].get("volumeName") or "-")
            except ApiError as error:
                if error.code != 404:
                    raise
                volume = None
        if volume is not None and decide.refers(volume, claim):
            await self._bound_status(claim, volume)
            return
        if (claim.get("status") or {}).get("phase") != "Lost":
            patch = {"metadata": {"uid": meta.uid(claim)}, "status": {"phase": "Lost", "accessModes": None, "capacity": None}}
            await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch, subresource="status")
            text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            self._recorder.event(claim, "Warning", "ClaimLost", text)

    # Volumes

    async def _sync_volume(self, name: str) -> None:
        volume = self._volumes.get(name)
        if volume is None:
            return
        reference = volume["spec"].get("claimRef") or {}
        claim = self._claims.get(reference.get("name", ""), reference.get("namespace", "")) if reference else None
        if reference.get("uid") and (claim is None or meta.uid(claim) != reference["uid"]):
            claim = await self._live_claim(reference)
        await self._set_phase(volume, decide.phase_of(volume, claim))

    async def _live_claim(self, reference: Obj) -> Obj | None:
        """Absence from the picture proves nothing: the server is asked (R-17, R-20)."""
        try:
            return await self._client.get(PERSISTENTVOLUMECLAIMS, reference["name"], reference["namespace"])
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def _set_phase(self, volume: Obj, phase: str) -> None:
        present = (volume.get("status") or {}).get("phase")
        if present == phase or (present == "Failed" and phase == "Released"):
            return
        patch = {
            "metadata": {"uid": meta.uid(volume)},
            "status": {"phase": phase, "lastPhaseTransitionTime": rfc3339(self._now())},
        }
        await self._client.patch(PERSISTENTVOLUMES, meta.name(volume), "", patch, subresource="status")
