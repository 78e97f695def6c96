"""The objects every cluster begins with: namespaces, the API's Service, RBAC's roles, the default StorageClass,
the system's priorities, the range of Services.

Idempotent. What exists is left as it is, but roles and bindings of ours get what they lack (``authorize.reconcile``):
an upgrade may need a permission that the version before did not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from holdfast.kinds.core import given
from holdfast.kinds.definitions.classes import SYSTEM_CLASSES
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    NAMESPACES,
    PRIORITYCLASSES,
    SERVICEACCOUNTS,
    SERVICECIDRS,
    SERVICES,
    STORAGECLASSES,
)
from holdfast.machinery.errors import ApiError
from holdfast.registry.authorize import MASTERS, reconcile
from holdfast.registry.authorize.roles import bindings, roles
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.registry.request import User

log = logging.getLogger("holdfast.registry")
SERVER = User("system:apiserver", (MASTERS, "system:authenticated"))
NAMES = ("default", "kube-system", "kube-public", "kube-node-lease")
API_PORT = 6443


async def bootstrap(registry: Registry, *, api_port: int = API_PORT, ca_pem: str = "") -> None:
    """``api_port`` is where pods reach the API server (the ``kubernetes`` Service's target), ``ca_pem`` the CA it is known by."""
    client = LocalClient(registry, SERVER, "kube-apiserver")
    for name in NAMES:
        await _ensure(client, NAMESPACES, {"metadata": {"name": name}})
        await _ensure(client, SERVICEACCOUNTS, given.default_account(name), name)
        if ca_pem:
            await _ensure(client, CONFIGMAPS, given.root_ca(name, ca_pem), name)
    await _ensure(client, SERVICES, _service(registry.addresses.api, api_port), "default")
    for role in roles(list(registry.kinds)):
        await _grant(client, CLUSTERROLES, role, reconcile.role)
    for binding in bindings():
        await _grant(client, CLUSTERROLEBINDINGS, binding, reconcile.binding)
    await _ensure(client, STORAGECLASSES, _storage_class())
    for priority in _priorities():
        await _ensure(client, PRIORITYCLASSES, priority)
    await _ensure_range(client, str(registry.addresses.network))


async def _ensure(client: LocalClient, resource: Resource, obj: Obj, namespace: str = "") -> bool:
    """True when it was created just now."""
    try:
        await client.get(resource, obj["metadata"]["name"], namespace)
        return False
    except ApiError as error:
        if error.code != 404:
            raise
    try:
        await client.create(resource, obj, namespace)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        return False
    return True


async def _ensure_range(client: LocalClient, network: str) -> None:
    """The range that Services' addresses come from, shown as an object and ready."""
    if not await _ensure(client, SERVICECIDRS, {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": [network]}}):
        return
    shown = await client.get(SERVICECIDRS, "kubernetes")
    since = shown["metadata"]["creationTimestamp"]
    text = "Kubernetes default Service CIDR is ready"
    ready = {"type": "Ready", "status": "True", "reason": "", "message": text, "lastTransitionTime": since}
    await client.update(SERVICECIDRS, shown | {"status": {"conditions": [ready]}}, subresource="status")


async def _grant(client: LocalClient, resource: Resource, wanted: Obj, reconciled: Callable[[Obj, Obj], Obj]) -> None:
    """Creates a role or binding of ours, or gives the present one what it lacks."""
    if await _ensure(client, resource, wanted):
        return
    name = wanted["metadata"]["name"]
    found = await client.get(resource, name)
    new = reconciled(found, wanted)
    if new == found:
        return
    log.info("%s %s is brought up to date", resource.kind, name)
    if new.get("roleRef") != found.get("roleRef"):  # a binding to another role is another binding
        await client.delete(resource, name, uid=found["metadata"]["uid"], resource_version=found["metadata"]["resourceVersion"])
        await client.create(resource, wanted)
    else:
        await client.update(resource, new)


def _service(address: str, port: int) -> Obj:
    return {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    }


def _storage_class() -> Obj:
    return {
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "builtin.holdfast.io",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def _priorities() -> list[Obj]:
    texts = (
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        "Used for system critical pods that must not be moved from their current node.",
    )
    return [
        {"metadata": {"name": name}, "value": value, "description": text}
        for (name, value), text in zip(SYSTEM_CLASSES.items(), texts, strict=True)
    ]
