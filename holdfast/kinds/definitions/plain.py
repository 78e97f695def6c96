"""Kinds without a spec worth a file: Secret, Lease, Event, StorageClass, Node: their defaults and small rules."""

from __future__ import annotations

import base64
from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import fill, fill_absent, not_negative, one_of, qualified
from holdfast.machinery.fielderror import FieldError, child, invalid, required

EVENTS = "io.k8s.api.events.v1."
COORDINATION = "io.k8s.api.coordination.v1."
STORAGE = "io.k8s.api.storage.v1."
NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


def _namespace_defaults(namespace: dict[str, Any]) -> None:
    """Selectors of namespaces may count on the name as a label."""
    metadata = namespace["metadata"]
    metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata.get("name", "")


def _secret_defaults(secret: dict[str, Any]) -> None:
    """stringData is for writing only: it joins data, encoded."""
    text = secret.pop("stringData", None)
    if isinstance(text, dict) and text:
        fill_absent(secret, data={})
        secret["data"].update({name: base64.b64encode(str(value).encode()).decode() for name, value in text.items()})
    fill(secret, type="Opaque")


def _check_lease(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        found.append(invalid(child(path, "leaseDurationSeconds"), duration, "must be greater than 0"))
    return found + not_negative(child(path, "leaseTransitions"), spec.get("leaseTransitions"))


def _class_defaults(storage_class: dict[str, Any]) -> None:
    fill(storage_class, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _check_class(storage_class: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    provisioner = storage_class.get("provisioner") or ""
    found = qualified("provisioner", provisioner.lower()) if provisioner else [required("provisioner")]
    found = [invalid("provisioner", provisioner, error.detail) if provisioner else error for error in found]
    if any(not name for name in storage_class.get("parameters") or {}):
        found.append(invalid("parameters", "", "field can not be empty."))
    found += one_of("reclaimPolicy", storage_class.get("reclaimPolicy"), ("Delete", "Retain"))
    return found + one_of("volumeBindingMode", storage_class.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))


def _event_defaults(event: dict[str, Any]) -> None:
    fill_absent(event, source={}, reportingComponent="", reportingInstance="")
    for name in ("firstTimestamp", "lastTimestamp", "eventTime"):
        event.setdefault(name, None)


def _new_event_defaults(event: dict[str, Any]) -> None:
    fill_absent(event, deprecatedSource={})
    for name in ("deprecatedFirstTimestamp", "deprecatedLastTimestamp"):
        event.setdefault(name, None)


def node_defaults(node: dict[str, Any]) -> None:
    fill_absent(node, spec={}, status={})
    spec, status = node["spec"], node["status"]
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs") and not spec.get("podCIDR"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    fill_absent(status, daemonEndpoints={}, nodeInfo={})
    fill_absent(status["daemonEndpoints"], kubeletEndpoint={})
    fill_absent(status["daemonEndpoints"]["kubeletEndpoint"], Port=0)
    fill_absent(status["nodeInfo"], **dict.fromkeys(NODE_INFO, ""))


overlay(CORE + "Namespace", defaulter=_namespace_defaults)
overlay(CORE + "Secret", defaulter=_secret_defaults)
overlay(CORE + "Event", defaulter=_event_defaults)
overlay(EVENTS + "Event", defaulter=_new_event_defaults, optional=("eventTime",))
overlay(COORDINATION + "Lease", defaults={"spec": {}})
overlay(COORDINATION + "LeaseSpec", checks=(_check_lease,))
overlay(STORAGE + "StorageClass", defaulter=_class_defaults, checks=(_check_class,), optional=("provisioner",))
overlay(CORE + "Node", defaulter=node_defaults)
overlay(CORE + "NodeSystemInfo", optional=NODE_INFO)
overlay(CORE + "Namespace", defaults={"spec": {}})
