"""Writes into each aggregated ClusterRole the rules it gathers, for whoever reads it. (RBAC itself gathers at each decision.)"""

from __future__ import annotations

from holdfast.client.api import Client
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.kinds.kind import Obj
from holdfast.kinds.rbac.aggregation import rules_of
from holdfast.kinds.resources import CLUSTERROLES
from holdfast.machinery import meta


class ClusterRoleAggregator:
    def __init__(self, client: Client, informers: InformerSet) -> None:
        self._client = client
        self._roles = informers[CLUSTERROLES]
        self.reconciler = Reconciler("clusterrole-aggregation", (self._roles,), self._sync, workers=1)
        self._roles.on_change(self._changed)

    def _changed(self, _old: Obj | None, _new: Obj | None) -> None:
        """Any role may be part of any aggregated one, also through another."""
        for role in self._roles.list():
            if role.get("aggregationRule"):
                self.reconciler.queue.add(meta.name(role))

    async def _sync(self, name: str) -> None:
        role = self._roles.get(name)
        if role is None or not role.get("aggregationRule") or meta.is_terminating(role):
            return
        rules = rules_of(role, {meta.name(one): one for one in self._roles.list()})
        if rules != (role.get("rules") or []):
            await self._client.update(CLUSTERROLES, {**role, "rules": rules})
