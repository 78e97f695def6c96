"""All built-in kinds, in the order discovery shows them."""

from __future__ import annotations

from holdfast.kinds.apps import daemonset, deployment, statefulset
from holdfast.kinds.coordination import lease
from holdfast.kinds.core import config, namespace, node, pod, replicationcontroller, service, volume
from holdfast.kinds.discovery import endpointslice
from holdfast.kinds.events import event
from holdfast.kinds.kind import Kind
from holdfast.kinds.rbac import rbac
from holdfast.kinds.storage import storageclass
from holdfast.kinds.table import KindTable

BUILTIN: tuple[Kind, ...] = (
    config.CONFIGMAP,
    service.ENDPOINTS_KIND,
    event.KIND,
    namespace.KIND,
    node.KIND,
    volume.CLAIM,
    volume.VOLUME,
    pod.KIND,
    replicationcontroller.PODTEMPLATE,
    replicationcontroller.KIND,
    config.SECRET,
    config.SERVICEACCOUNT,
    service.KIND,
    statefulset.REVISION,
    daemonset.KIND,
    deployment.KIND,
    deployment.REPLICA_SET,
    statefulset.KIND,
    event.NEW_KIND,
    endpointslice.KIND,
    lease.KIND,
    storageclass.KIND,
    *rbac.KINDS,
)


def builtin_table() -> KindTable:
    return KindTable(BUILTIN)
