"""All built-in kinds, by group."""

from __future__ import annotations

from holdfast.kinds import answered
from holdfast.kinds.apiextensions import definition
from holdfast.kinds.apps import daemonset, deployment, statefulset
from holdfast.kinds.autoscaling import autoscaler
from holdfast.kinds.batch import cronjob, job
from holdfast.kinds.coordination import lease
from holdfast.kinds.core import config, namespace, node, pod, quota, replicationcontroller, service, volume
from holdfast.kinds.discovery import endpointslice
from holdfast.kinds.events import event
from holdfast.kinds.kind import Kind
from holdfast.kinds.networking import addresses, ingress, networkpolicy
from holdfast.kinds.node import runtimeclass
from holdfast.kinds.policy import budget
from holdfast.kinds.rbac import rbac
from holdfast.kinds.scheduling import priorityclass
from holdfast.kinds.storage import attributesclass, csi, storageclass
from holdfast.kinds.table import KindTable

BUILTIN: tuple[Kind, ...] = (
    quota.COMPONENT_STATUS,
    config.CONFIGMAP,
    service.ENDPOINTS_KIND,
    event.KIND,
    quota.LIMIT_RANGE,
    namespace.KIND,
    node.KIND,
    volume.CLAIM,
    volume.VOLUME,
    pod.KIND,
    replicationcontroller.PODTEMPLATE,
    replicationcontroller.KIND,
    quota.RESOURCE_QUOTA,
    config.SECRET,
    config.SERVICEACCOUNT,
    service.KIND,
    statefulset.REVISION,
    daemonset.KIND,
    deployment.KIND,
    deployment.REPLICA_SET,
    statefulset.KIND,
    autoscaler.KIND,
    autoscaler.KIND_V1,
    cronjob.KIND,
    job.KIND,
    event.NEW_KIND,
    endpointslice.KIND,
    lease.KIND,
    ingress.CLASS,
    ingress.KIND,
    addresses.ADDRESS,
    networkpolicy.KIND,
    addresses.RANGE,
    runtimeclass.KIND,
    budget.KIND,
    priorityclass.KIND,
    csi.DRIVER,
    csi.NODE,
    csi.CAPACITY,
    storageclass.KIND,
    csi.ATTACHMENT,
    attributesclass.KIND,
    *rbac.KINDS,
    *answered.KINDS,
    definition.KIND,
)


def builtin_table() -> KindTable:
    return KindTable(BUILTIN)
