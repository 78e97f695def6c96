"""Status: reported by whoever acts, never required of an author.

The upstream document marks fields here as required because Go always writes them, often empty (a
container that waits has no imageID). Checking that would refuse every later write of the object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.kinds.definitions.overlay import (
    APPS,
    AUTOSCALING,
    AUTOSCALING_V1,
    BATCH,
    CORE,
    META,
    NETWORKING,
    POLICY,
    STORAGE,
    overlay,
)

_CONDITION = ("status", "type")
_REPORTED = {
    CORE + "NamespaceCondition": _CONDITION,
    CORE + "NodeCondition": _CONDITION,
    CORE + "PodCondition": _CONDITION,
    CORE + "PersistentVolumeClaimCondition": _CONDITION,
    APPS + "StatefulSetCondition": _CONDITION,
    APPS + "DeploymentCondition": _CONDITION,
    APPS + "ReplicaSetCondition": _CONDITION,
    APPS + "DaemonSetCondition": _CONDITION,
    CORE + "ReplicationControllerCondition": _CONDITION,
    BATCH + "JobCondition": _CONDITION,
    AUTOSCALING + "HorizontalPodAutoscalerCondition": _CONDITION,
    AUTOSCALING + "HorizontalPodAutoscalerStatus": ("desiredReplicas",),
    AUTOSCALING_V1 + "HorizontalPodAutoscalerStatus": ("currentReplicas", "desiredReplicas"),
    POLICY + "PodDisruptionBudgetStatus": ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"),
    APPS + "DaemonSetStatus": ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"),
    APPS + "ReplicaSetStatus": ("replicas",),
    CORE + "ReplicationControllerStatus": ("replicas",),
    APPS + "StatefulSetStatus": ("replicas",),
    STORAGE + "VolumeAttachmentStatus": ("attached",),
    NETWORKING + "IngressPortStatus": ("port", "protocol"),
    META + "Condition": ("lastTransitionTime", "message", "reason", "status", "type"),
    CORE + "AttachedVolume": ("devicePath", "name"),
    CORE + "ContainerExtendedResourceRequest": ("containerName", "requestName", "resourceName"),
    CORE + "ContainerStateTerminated": ("exitCode",),
    CORE + "ContainerStatus": ("image", "imageID", "name", "ready", "restartCount"),
    CORE + "DaemonEndpoint": ("Port",),
    CORE + "HostIP": ("ip",),
    CORE + "ImageVolumeStatus": ("imageRef",),
    CORE + "LinuxContainerUser": ("gid", "uid"),
    CORE + "ModifyVolumeStatus": ("status",),
    CORE + "NodeAddress": ("address", "type"),
    CORE + "PodExtendedResourceClaimStatus": ("requestMappings", "resourceClaimName"),
    CORE + "PodIP": ("ip",),
    CORE + "PodResourceClaimStatus": ("name",),
    CORE + "PortStatus": ("port", "protocol"),
    CORE + "ResourceHealth": ("resourceID",),
    CORE + "ResourceStatus": ("name",),
    CORE + "VolumeMountStatus": ("mountPath", "name"),
}

_MOMENT = ("lastTransitionTime",)
_MOMENTS = {
    CORE + "NodeCondition": ("lastHeartbeatTime", *_MOMENT),
    CORE + "PodCondition": ("lastProbeTime", *_MOMENT),
    CORE + "PersistentVolumeClaimCondition": ("lastProbeTime", *_MOMENT),
    APPS + "StatefulSetCondition": _MOMENT,
    APPS + "DeploymentCondition": ("lastUpdateTime", *_MOMENT),
    APPS + "ReplicaSetCondition": _MOMENT,
    APPS + "DaemonSetCondition": _MOMENT,
    CORE + "ReplicationControllerCondition": _MOMENT,
    BATCH + "JobCondition": ("lastProbeTime", *_MOMENT),
}
"""Times that Go keeps by value: served as null while nobody has said them."""


def _untold(names: Sequence[str]) -> Callable[[dict[str, Any]], None]:
    def run(condition: dict[str, Any]) -> None:
        for name in names:
            condition.setdefault(name, None)

    return run


for _definition, _names in _MOMENTS.items():
    overlay(_definition, defaulter=_untold(_names))
for _definition, _fields in _REPORTED.items():
    overlay(_definition, optional=_fields)
# Owner references are checked with all other metadata, in words of their own.
overlay(META + "OwnerReference", optional=("apiVersion", "kind", "name", "uid"))
