"""What controllers of many pods share: whose a pod is, and whether the picture shows what we wrote ourselves (SCEN-17).

A picture that lags behind our own writes would have us create a second pod for the first, or count one twice. So each
write is remembered until the picture shows it; what it may never show (events that were merged, an answer that was lost)
is asked of the server itself.
"""

from __future__ import annotations

from holdfast.client.api import Client
from holdfast.client.informer import Informer
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PODS
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

OWNER = "controller"
"""The index of ``owner_of``."""


def owner_of(obj: Obj) -> list[str]:
    """The uid of its controller; what has none is found by its namespace."""
    owner = meta.controller_of(obj)
    return [owner["uid"] if owner else f"/{meta.namespace(obj)}"]


class OwnWrites:
    """Per owner (its key): what was written about its pods, and is not yet seen."""

    def __init__(self, client: Client, pods: Informer) -> None:
        self._client = client
        self._pods = pods
        self._written: dict[str, int] = {}
        self._deleted: dict[str, set[str]] = {}
        self._made: dict[str, dict[str, str]] = {}

    def forget(self, key: str) -> None:
        for table in (self._written, self._deleted, self._made):
            table.pop(key, None)

    def wrote(self, key: str, answer: Obj) -> None:
        """A pod was written; ``answer``: the pod as it is now."""
        self._written[key] = max(self._written.get(key, 0), meta.revision(answer))

    def made(self, key: str, name: str, uid: str = "") -> None:
        """A pod was created, or perhaps (``uid`` "")."""
        self._made.setdefault(key, {})[name] = uid

    def deleted(self, key: str, uid: str) -> None:
        self._deleted.setdefault(key, set()).add(uid)

    async def seen(self, key: str) -> bool:
        """Whether the picture shows them all."""
        if int(self._pods.revision or 0) < self._written.get(key, 0):
            return False
        namespace = meta.split_key(key)[0]
        gone = self._deleted.get(key, set())
        if gone:
            gone &= {meta.uid(pod) for pod in self._pods.list(namespace) if not meta.is_terminating(pod)}
        made = self._made.get(key, {})
        for name, uid in [*made.items()]:
            pod = self._pods.get(name, namespace)
            if (pod is not None and uid in ("", meta.uid(pod))) or not await self._exists(name, namespace, uid):
                made.pop(name, None)
        return not gone and not made

    async def _exists(self, name: str, namespace: str, uid: str) -> bool:
        try:
            live = await self._client.get(PODS, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return uid in ("", meta.uid(live))
