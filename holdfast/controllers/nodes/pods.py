"""Records of pods that no node will ever end: their Node is gone or out of service, or they never had one.

The absence of a Node is confirmed live, and only after it has been gone for a while: a Node that is registered
anew must not cost its pods their identity.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.client.api import Client
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.nodes import decide
from holdfast.controllers.pods import has_ended
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import NODES, PODS
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

QUARANTINE_SECONDS = 40.0


class PodGarbageCollector:
    def __init__(self, client: Client, informers: InformerSet, moment: Callable[[], float]) -> None:
        """``moment``: a clock that never jumps."""
        self._client = client
        self._moment = moment
        self._pods, self._nodes = informers[PODS], informers[NODES]
        self._missing: dict[str, float] = {}
        self.reconciler = Reconciler("pod-garbage", (self._pods, self._nodes), self._sync, workers=1)
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(self._node_changed)

    def _pod_changed(self, _old: Obj | None, new: Obj | None) -> None:
        if new is not None and (meta.is_terminating(new) or self._nodes.get(new["spec"].get("nodeName") or "") is None):
            self.reconciler.queue.add(meta.key(new))

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        node = new or old
        assert node is not None
        if new is not None:
            self._missing.pop(meta.name(new), None)
        if new is None or any(t["key"] == decide.OUT_OF_SERVICE for t in new["spec"].get("taints") or []):
            for pod in self._pods.list():
                if pod["spec"].get("nodeName") == meta.name(node):
                    self.reconciler.queue.add(meta.key(pod))

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None:
            return
        node_name = pod["spec"].get("nodeName")
        if not node_name:
            if meta.is_terminating(pod):
                await self._remove(pod, "")
            return
        node = self._nodes.get(node_name)
        if node is not None:
            if meta.is_terminating(pod) and decide.is_out_of_service(pod, node):
                await self._remove(pod, "node is out of service")
            return
        gone_since = self._missing.setdefault(node_name, self._moment())
        left = gone_since + QUARANTINE_SECONDS - self._moment()
        if left > 0:
            self.reconciler.queue.add_after(key, left + 0.1)
        elif not await self._node_lives(node_name):
            await self._remove(pod, "node no longer exists")

    async def _node_lives(self, name: str) -> bool:
        try:
            await self._client.get(NODES, name)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    async def _remove(self, pod: Obj, why: str) -> None:
        """Ends the record; one that had begun is marked Failed first, so that its owners see how it ended."""
        name, namespace = meta.name(pod), meta.namespace(pod)
        try:
            if why and not has_ended(pod):
                status = {"phase": "Failed", "reason": "NodeLost", "message": f"PodGC: {why}"}
                await self._client.patch(
                    PODS, name, namespace, {"metadata": {"uid": meta.uid(pod)}, "status": status}, subresource="status"
                )
            await self._client.delete(PODS, name, namespace, uid=meta.uid(pod), grace_period=0)
        except ApiError as error:
            if error.code not in (404, 409):
                raise
