"""The node monitor: Leases in; Ready Unknown, taints and the eviction of pods out."""

from __future__ import annotations

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.nodes import decide
from holdfast.controllers.nodes.decide import GRACE_SECONDS, Heartbeat
from holdfast.controllers.pods import has_ended
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import LEASES, NODES, PODS
from holdfast.lib.clock import Clock, parse_rfc3339, rfc3339
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

LEASE_NAMESPACE = "kube-node-lease"


class NodeLifecycle:
    def __init__(self, client: Client, informers: InformerSet, recorder: EventRecorder, clock: Clock) -> None:
        self._client = client
        self._recorder = recorder
        self._now = clock.now
        self._moment = clock.monotonic
        self._nodes, self._leases, self._pods = informers[NODES], informers[LEASES], informers[PODS]
        self._heartbeats: dict[str, Heartbeat] = {}
        self.reconciler = Reconciler("nodes", (self._nodes, self._leases, self._pods), self._sync, workers=1)
        self._pods.add_index("node", lambda pod: [pod["spec"]["nodeName"]] if pod["spec"].get("nodeName") else [])
        self._nodes.on_change(lambda old, new: self.reconciler.queue.add(meta.name(new or old or {})))
        self._leases.on_change(self._lease_changed)
        self._pods.on_change(self._pod_changed)

    def _lease_changed(self, _old: Obj | None, new: Obj | None) -> None:
        if new is not None and meta.namespace(new) == LEASE_NAMESPACE:
            self.reconciler.queue.add(meta.name(new))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        node = new["spec"].get("nodeName") if new else None
        if node and (old is None or not old["spec"].get("nodeName")):
            self.reconciler.queue.add(node)

    async def _sync(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None:
            self._heartbeats.pop(name, None)
            return
        moment = self._moment()
        heartbeat = self._listen(node, moment)
        if decide.is_silent(heartbeat, moment):
            node = await self._fallen_silent(node)
        else:
            self.reconciler.queue.add_after(name, heartbeat.seen + GRACE_SECONDS - moment + 0.1)
        node = await self._taint(node)
        await self._pods_follow(node, self._now())

    def _listen(self, node: Obj, moment: float) -> Heartbeat:
        lease = self._leases.get(meta.name(node), LEASE_NAMESPACE) or {}
        beat = (meta.condition(node, "Ready") or {}).get("lastHeartbeatTime") or ""
        said = f"{(lease.get('spec') or {}).get('renewTime')} {beat}"
        known = self._heartbeats.get(meta.name(node))
        if known is None or known.said != said:
            known = self._heartbeats[meta.name(node)] = Heartbeat(said, moment)
        return known

    async def _fallen_silent(self, node: Obj) -> Obj:
        held = (node.get("status") or {}).get("conditions") or []
        wanted = decide.silent_conditions(node, rfc3339(self._now()))
        if wanted == held:
            return node
        if meta.condition_true(node, "Ready"):
            text = f"Node {meta.name(node)} status is now: NodeNotReady"
            self._recorder.event(node, "Normal", "NodeNotReady", text)
        patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "status": {"conditions": wanted}}
        return await self._client.patch(NODES, meta.name(node), "", patch, subresource="status")

    async def _taint(self, node: Obj) -> Obj:
        wanted = decide.taints(node, rfc3339(self._now()))
        if wanted == (node["spec"].get("taints") or []):
            return node
        patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": wanted or None}}
        return await self._client.patch(NODES, meta.name(node), "", patch)

    async def _pods_follow(self, node: Obj, now: float) -> None:
        """Pods of a node that is no longer Ready are not Ready either; those that do not tolerate its taints are asked to go."""
        silenced = meta.condition(node, "Ready") is not None and not meta.condition_true(node, "Ready")
        taints = node["spec"].get("taints") or []
        if not silenced and not taints:
            return
        for pod in self._pods.by_index("node", meta.name(node)):
            if has_ended(pod):
                continue
            if silenced and meta.condition_true(pod, "Ready"):
                await self._not_ready(pod)
            delay = None if meta.is_terminating(pod) else decide.eviction_delay(pod, taints)
            if delay is None:
                continue
            left = self._tainted_since(taints) + delay - now
            if left > 0:
                self.reconciler.queue.add_after(meta.name(node), left + 0.1)
                continue
            self._recorder.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {meta.key(pod)}")
            await self._delete(pod)

    def _tainted_since(self, taints: list[Obj]) -> float:
        times = [parse_rfc3339(t["timeAdded"]) for t in taints if t.get("effect") == "NoExecute" and t.get("timeAdded")]
        return max(times, default=self._now())

    async def _delete(self, pod: Obj) -> None:
        try:
            await self._client.delete(PODS, meta.name(pod), meta.namespace(pod), uid=meta.uid(pod))
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def _not_ready(self, pod: Obj) -> None:
        stamp = rfc3339(self._now())
        conditions = [
            {**c, "status": "False", "lastTransitionTime": stamp, "reason": "NodeNotReady"} if c["type"] == "Ready" else c
            for c in pod["status"]["conditions"]
        ]
        patch = {
            "metadata": {"uid": meta.uid(pod), "resourceVersion": pod["metadata"]["resourceVersion"]},
            "status": {"conditions": conditions},
        }
        try:
            await self._client.patch(PODS, meta.name(pod), meta.namespace(pod), patch, subresource="status")
        except ApiError as error:
            if error.code not in (404, 409):
                raise
