"""Which properties upstream's types keep by value instead of by pointer.

They are there, empty, in every object, so managedFields never say that somebody added them (``"."``), only what is
in them. ``metadata``, ``spec`` and ``status`` of every kind are (``kinds.schemas``); these are the others.
"""

from __future__ import annotations

from holdfast.kinds.definitions.overlay import APPS, AUTOSCALING, AUTOSCALING_V1, BATCH, CORE, NETWORKING, STORAGE, overlay

_HELD = {
    APPS + "DaemonSetSpec": ("template", "updateStrategy"),
    APPS + "DeploymentSpec": ("strategy", "template"),
    APPS + "ReplicaSetSpec": ("template",),
    APPS + "StatefulSetSpec": ("serviceName", "template", "updateStrategy"),
    CORE + "Binding": ("target",),
    CORE + "Container": ("resources",),
    CORE + "EphemeralContainer": ("resources",),
    CORE + "Event": (
        "eventTime",
        "firstTimestamp",
        "involvedObject",
        "lastTimestamp",
        "reportingComponent",
        "reportingInstance",
        "source",
    ),
    CORE + "NodeStatus": ("daemonEndpoints", "nodeInfo"),
    CORE + "PersistentVolumeClaimSpec": ("resources",),
    CORE + "PersistentVolumeClaimTemplate": ("metadata", "spec"),
    CORE + "PodSpec": ("containers",),
    CORE + "PodTemplate": ("template",),
    CORE + "PodTemplateSpec": ("metadata", "spec"),
    CORE + "ServiceStatus": ("loadBalancer",),
    BATCH + "CronJobSpec": ("jobTemplate",),
    BATCH + "JobSpec": ("template",),
    BATCH + "JobTemplateSpec": ("metadata", "spec"),
    NETWORKING + "IngressStatus": ("loadBalancer",),
    NETWORKING + "NetworkPolicySpec": ("podSelector",),
    AUTOSCALING_V1 + "HorizontalPodAutoscalerSpec": ("scaleTargetRef",),
    AUTOSCALING + "HorizontalPodAutoscalerSpec": ("scaleTargetRef",),
    "io.k8s.api.events.v1.Event": ("deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedSource", "regarding"),
    "io.k8s.api.rbac.v1.ClusterRole": ("rules",),
    "io.k8s.api.rbac.v1.Role": ("rules",),
    "io.k8s.api.rbac.v1.ClusterRoleBinding": ("roleRef",),
    "io.k8s.api.rbac.v1.RoleBinding": ("roleRef",),
    STORAGE + "CSINodeSpec": ("drivers",),
    STORAGE + "VolumeAttachmentSpec": ("source",),
}

for _definition, _properties in _HELD.items():
    overlay(_definition, held=_properties)
