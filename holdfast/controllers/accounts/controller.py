"""The ``default`` ServiceAccount and the ConfigMap ``kube-root-ca.crt`` of each namespace: made, and made again when taken away."""

from __future__ import annotations

from holdfast.client.api import Client
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.kinds.core.given import ACCOUNT, ROOT_CA, default_account, root_ca
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import CONFIGMAPS, NAMESPACES, SERVICEACCOUNTS
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError


def _active(namespace: Obj | None) -> bool:
    return namespace is not None and not meta.is_terminating(namespace)


async def _create(client: Client, resource: Resource, obj: Obj, namespace: str) -> None:
    """Somebody may have been faster, or the namespace may be gone: both are well."""
    try:
        await client.create(resource, obj, namespace)
    except ApiError as error:
        if error.reason not in ("AlreadyExists", "NotFound"):
            raise


class ServiceAccountController:
    def __init__(self, client: Client, informers: InformerSet) -> None:
        self._client = client
        self._namespaces = informers[NAMESPACES]
        self._accounts = informers[SERVICEACCOUNTS]
        self.reconciler = Reconciler("serviceaccounts", (self._namespaces, self._accounts), self._sync)
        self._namespaces.on_change(lambda _old, new: self.reconciler.queue.add(meta.name(new)) if new else None)
        self._accounts.on_change(self._account_changed)

    def _account_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None and meta.name(old) == ACCOUNT:
            self.reconciler.queue.add(meta.namespace(old))

    async def _sync(self, namespace: str) -> None:
        if _active(self._namespaces.get(namespace)) and self._accounts.get(ACCOUNT, namespace) is None:
            await _create(self._client, SERVICEACCOUNTS, default_account(namespace), namespace)


class RootCaPublisher:
    def __init__(self, client: Client, informers: InformerSet, ca_pem: str) -> None:
        self._client = client
        self._ca_pem = ca_pem
        self._namespaces = informers[NAMESPACES]
        self._maps = informers.selected(CONFIGMAPS, f"metadata.name={ROOT_CA}")
        self.reconciler = Reconciler("root-ca", (self._namespaces, self._maps), self._sync)
        self._namespaces.on_change(lambda _old, new: self.reconciler.queue.add(meta.name(new)) if new else None)
        self._maps.on_change(self._map_changed)

    def _map_changed(self, old: Obj | None, new: Obj | None) -> None:
        if (changed := new or old) is not None:
            self.reconciler.queue.add(meta.namespace(changed))

    async def _sync(self, namespace: str) -> None:
        if not _active(self._namespaces.get(namespace)):
            return
        present = self._maps.get(ROOT_CA, namespace)
        if present is None:
            await _create(self._client, CONFIGMAPS, root_ca(namespace, self._ca_pem), namespace)
        elif present.get("data") != {"ca.crt": self._ca_pem}:
            await self._client.update(CONFIGMAPS, {**present, "data": {"ca.crt": self._ca_pem}})
