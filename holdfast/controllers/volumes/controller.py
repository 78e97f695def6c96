"""The binder: claims and volumes one to one, by uid, for life (P-3).

Two writes, in this order: the volume's claimRef with the claim's uid, then the claim's volumeName; a crash in
between is mended by the next sync. A volume whose claim is gone is Released, never bound anew until an administrator
clears its claimRef. Its data is the provisioner's to delete (``controllers.provisioner``), after a live look of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import replace

from holdfast.client.api import Client, find
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.volumes import decide
from holdfast.controllers.volumes.decide import Said
from holdfast.controllers.volumes.matching import INDEX, candidates, index, is_bound
from holdfast.kinds.core.claims import BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONERS, SELECTED_NODE, claims_of, reference_to
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

COMPONENT = "persistentvolume-controller"
BY_CLAIM = "claim"
"""Index of pods: by ``namespace/name`` of the claims they use."""
BY_VOLUME = "volume"
"""Index of claims: by the name of the volume that they have or ask for."""
UNBOUND = "unbound"
"""Index of claims: under one key those that are not bound, which are few among many."""
SAID_KEPT, SAID_FOR = 4096, 900.0
"""Claims whose last event is remembered; seconds after which the same is said again."""


def used_claims(pod: Obj) -> list[str]:
    return [f"{meta.namespace(pod)}/{claim}" for claim in claims_of(pod).values()]


class VolumeBinder:
    """``local``: provisioners whose volumes lie on one node; ``served``: those with a name of Kubernetes' own that are there."""

    def __init__(
        self,
        client: Client,
        informers: InformerSet,
        recorder: EventRecorder,
        now: Callable[[], float],
        *,
        local: Collection[str] = (),
        served: Collection[str] = (),
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._now = now
        self._local, self._served = local, served
        self._claims = informers[PERSISTENTVOLUMECLAIMS]
        self._volumes = informers[PERSISTENTVOLUMES]
        self._classes = informers[STORAGECLASSES]
        self._nodes = informers[NODES]
        self._pods = informers[PODS]
        self._pods.add_index(BY_CLAIM, used_claims)
        self._volumes.add_index(INDEX, index)
        self._claims.add_index(BY_VOLUME, lambda claim: [claim["spec"].get("volumeName") or ""])
        self._claims.add_index(UNBOUND, lambda claim: [] if is_bound(claim) else [UNBOUND])
        self._said: OrderedDict[str, tuple[Said, float]] = OrderedDict()
        watched = (self._claims, self._volumes, self._classes, self._nodes, self._pods)
        self.claims = Reconciler("claims", watched, self._sync_claim, workers=1)
        self.volumes = Reconciler("volumes", watched, self._sync_volume, workers=1)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(lambda _old, _new: self._pending())
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)

    def _claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        claim = new or old
        assert claim is not None
        self.claims.queue.add(meta.key(claim))
        if claim["spec"].get("volumeName"):
            self.volumes.queue.add(claim["spec"]["volumeName"])
        if new is None:  # a volume that was begun for it
            for volume in candidates(self._volumes, claim):
                self.volumes.queue.add(meta.name(volume))

    def _volume_changed(self, old: Obj | None, new: Obj | None) -> None:
        volume = new or old
        assert volume is not None
        self.volumes.queue.add(meta.name(volume))
        references = [(each or {}).get("spec", {}).get("claimRef") for each in (old, new)]
        for reference in references:
            if reference:
                self.claims.queue.add(f"{reference.get('namespace')}/{reference.get('name')}")
        for claim in self._claims.by_index(BY_VOLUME, meta.name(volume)):
            self.claims.queue.add(meta.key(claim))
        if new is not None and references[1] is None:
            self._pending()

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is None or new is None or meta.condition_true(old, "Ready") != meta.condition_true(new, "Ready"):
            self._pending()

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """What an unbound claim waits for is said in the names of its pods."""
        if old is None or new is None or old["spec"].get("nodeName") != new["spec"].get("nodeName"):
            for key in used_claims(new or old or {}):
                namespace, name = meta.split_key(key)
                claim = self._claims.get(name, namespace)
                if claim is not None and not is_bound(claim):
                    self.claims.queue.add(key)

    def _pending(self) -> None:
        for claim in self._claims.by_index(UNBOUND, UNBOUND):
            self.claims.queue.add(meta.key(claim))

    # Claims

    async def _sync_claim(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        claim = self._claims.get(name, namespace)
        if claim is None:
            return
        step = decide.of_claim(claim, self._seen(claim))
        match step:
            case decide.Bind(volume):
                await self._bind(claim, volume)
            case decide.GiveClass(given):
                await self._change(claim, {"spec": {"storageClassName": given}})
            case decide.Provision():
                await self._ask(claim, step)
            case decide.Unselect(node):
                if await find(self._client, NODES, node) is None:
                    await self._change(claim, {"metadata": {"annotations": {SELECTED_NODE: None}}})
            case decide.Wait(said):
                self._say(claim, said)
            case decide.Lose():
                await self._lose(claim)

    def _seen(self, claim: Obj) -> decide.Seen:
        waiting = [meta.name(pod) for pod in self._pods.by_index(BY_CLAIM, meta.key(claim)) if not pod["spec"].get("nodeName")]
        volumes = {meta.name(volume): volume for volume in candidates(self._volumes, claim)}
        named = self._volumes.get(claim["spec"].get("volumeName") or "")
        if named is not None:
            volumes[meta.name(named)] = named
        return decide.Seen(
            volumes,
            self._classes.named(),
            self._nodes.named(),
            tuple(sorted(waiting)),
            self._local,
            self._served,
        )

    def _say(self, claim: Obj, said: Said | None) -> None:
        """Once, as long as nothing else is to be said: every change around a waiting claim brings it here again."""
        uid, now = meta.uid(claim), self._now()
        before = self._said.pop(uid, None)
        if said is None:
            return
        if before is None or before[0] != said or now - before[1] > SAID_FOR:
            self._recorder.event(claim, said.type, said.reason, said.message)
            before = (said, now)
        self._said[uid] = before
        if len(self._said) > SAID_KEPT:
            self._said.popitem(last=False)

    async def _change(self, claim: Obj, patch: Obj) -> Obj:
        """Refused with 409 when the claim is no longer what was decided on."""
        metadata = {"resourceVersion": claim["metadata"]["resourceVersion"], **patch.get("metadata", {})}
        return await self._client.patch(
            PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), {**patch, "metadata": metadata}
        )

    async def _ask(self, claim: Obj, step: decide.Provision) -> None:
        """Marks the claim for its class's provisioner."""
        annotations = dict.fromkeys(PROVISIONERS, step.provisioner) | ({SELECTED_NODE: step.node} if step.node else {})
        if any(meta.annotations_of(claim).get(k) != v for k, v in annotations.items()):
            claim = await self._change(claim, {"metadata": {"annotations": annotations}})
        self._say(claim, decide.event_of(step))

    async def _bind(self, claim: Obj, volume: Obj) -> None:
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") != meta.uid(claim):
            live = await find(self._client, PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim))
            if live is None or live["metadata"]["resourceVersion"] != claim["metadata"]["resourceVersion"]:
                return  # it has gone on since: that is on its way here
            metadata: Obj = {"resourceVersion": volume["metadata"]["resourceVersion"]}
            if not reference:
                metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
            volume = await self._client.patch(
                PERSISTENTVOLUMES, meta.name(volume), "", {"metadata": metadata, "spec": {"claimRef": reference_to(claim)}}
            )
        await self._set_phase(volume, decide.Phase("Bound"))
        if BIND_COMPLETED not in meta.annotations_of(claim):
            annotations = {BIND_COMPLETED: "yes"}
            if not claim["spec"].get("volumeName"):
                annotations[BOUND_BY_CONTROLLER] = "yes"
            claim = await self._change(claim, {"metadata": {"annotations": annotations}, "spec": {"volumeName": meta.name(volume)}})
        self._said.pop(meta.uid(claim), None)
        await self._bound_status(claim, volume)

    async def _bound_status(self, claim: Obj, volume: Obj) -> None:
        """Its capacity is the volume's when it is bound; from then on that is the resizer's, who knows what the file system holds."""
        present = claim.get("status") or {}
        status: Obj = {"phase": "Bound", "accessModes": volume["spec"]["accessModes"]}
        if present.get("phase") != "Bound":
            status["capacity"] = {"storage": volume["spec"]["capacity"]["storage"]}
            if volume["spec"].get("volumeAttributesClassName"):
                status["currentVolumeAttributesClassName"] = volume["spec"]["volumeAttributesClassName"]
        if any(present.get(k) != v for k, v in status.items()):
            await self._status(claim, status)

    async def _status(self, claim: Obj, status: Obj) -> None:
        """Refused with 409 when others have written since: the resizer's capacity is not to be overwritten."""
        patch = {
            "metadata": {"uid": meta.uid(claim), "resourceVersion": claim["metadata"]["resourceVersion"]},
            "status": status,
        }
        await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch, subresource="status")

    async def _lose(self, claim: Obj) -> None:
        """Only after the server itself says so."""
        live = await find(self._client, PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim))
        if live is None or meta.uid(live) != meta.uid(claim):
            return
        name = live["spec"].get("volumeName") or ""
        volume = await find(self._client, PERSISTENTVOLUMES, name)
        step = decide.of_claim(live, replace(self._seen(live), volumes={name: volume} if volume else {}))
        if isinstance(step, decide.Bind):
            await self._bind(live, step.volume)
        elif isinstance(step, decide.Lose) and (live.get("status") or {}).get("phase") != "Lost":
            await self._status(live, {"phase": "Lost", "accessModes": None, "capacity": None})
            self._recorder.event(live, step.said.type, step.said.reason, step.said.message)

    # Volumes

    async def _sync_volume(self, name: str) -> None:
        volume = self._volumes.get(name)
        if volume is None:
            return
        reference = volume["spec"].get("claimRef") or {}
        claim = self._claims.get(reference.get("name", ""), reference.get("namespace", "")) if reference else None
        step = decide.of_volume(volume, claim, self._served)
        if reference.get("uid") and not (isinstance(step, decide.Phase) and step.phase == "Bound"):
            claim = await find(self._client, PERSISTENTVOLUMECLAIMS, reference["name"], reference["namespace"])
            step = decide.of_volume(volume, claim, self._served)
        match step:
            case decide.Phase():
                await self._set_phase(volume, step)
            case decide.Unbind(whole):
                await self._unbind(volume, whole)
            case decide.Finish(said, of_claim):
                assert claim is not None
                if said is not None and of_claim is not None:
                    self._recorder.event(volume, said.type, said.reason, said.message)
                    self._recorder.event(claim, of_claim.type, of_claim.reason, of_claim.message)
                else:
                    self.claims.queue.add(meta.key(claim))

    async def _unbind(self, volume: Obj, whole: bool) -> None:
        metadata: Obj = {"resourceVersion": volume["metadata"]["resourceVersion"]}
        if whole:
            metadata["annotations"] = {BOUND_BY_CONTROLLER: None}
        left = None if whole else {"uid": None, "resourceVersion": None}
        volume = await self._client.patch(PERSISTENTVOLUMES, meta.name(volume), "", {"metadata": metadata, "spec": {"claimRef": left}})
        await self._set_phase(volume, decide.Phase("Available"))

    async def _set_phase(self, volume: Obj, step: decide.Phase) -> None:
        """Tells of it when it is news: the phase, with its time, and what went wrong."""
        present = volume.get("status") or {}
        if (present.get("phase"), present.get("message") or "") == (step.phase, step.message):
            return
        status: Obj = {"phase": step.phase, "message": step.message or None}
        if present.get("phase") != step.phase:
            status["lastPhaseTransitionTime"] = rfc3339(self._now())
        await self._client.patch(
            PERSISTENTVOLUMES, meta.name(volume), "", {"metadata": {"uid": meta.uid(volume)}, "status": status}, subresource="status"
        )
        if step.said is not None:
            self._recorder.event(volume, step.said.type, step.said.reason, step.said.message)
