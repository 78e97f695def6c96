"""Kinds without a spec worth a file: Secret, Lease, Event, StorageClass, Node: their defaults and small rules."""

from __future__ import annotations

import base64
from typing import Any

from holdfast.kinds.definitions.overlay import CORE, STORAGE, overlay
from holdfast.kinds.definitions.rules import fill, fill_absent, items, not_negative, one_of, qualified, qualified_texts
from holdfast.machinery.fielderror import FieldError, child, duplicate, index, invalid, required, too_long

EVENTS = "io.k8s.api.events.v1."
COORDINATION = "io.k8s.api.coordination.v1."
_MOST_PARAMETERS = 512
_LARGEST_PARAMETERS = 256 * 1024
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


def driver(path: str, name: Any) -> list[FieldError]:
    """Who makes or changes the volumes of a class."""
    if not name:
        return [required(path)]
    return [invalid(path, name, error.detail) for error in qualified(path, str(name).lower())]


def check_parameters(storage_class: dict[str, Any], path: str) -> list[FieldError]:
    """What a class tells its driver."""
    parameters, here = storage_class.get("parameters") or {}, child(path, "parameters")
    if len(parameters) > _MOST_PARAMETERS:
        return [too_long(here, "", _MOST_PARAMETERS)]
    found = [invalid(here, "", "field can not be empty.") for name in parameters if not name]
    if sum(len(name) + len(str(value)) for name, value in parameters.items()) > _LARGEST_PARAMETERS:
        found.append(too_long(here, "", _LARGEST_PARAMETERS))
    return found


def _check_class(storage_class: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = driver("provisioner", storage_class.get("provisioner")) + check_parameters(storage_class, path)
    found += one_of("reclaimPolicy", storage_class.get("reclaimPolicy"), ("Delete", "Retain"))
    found += one_of("volumeBindingMode", storage_class.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))
    return found + _check_topologies(storage_class)


def _check_topologies(storage_class: dict[str, Any]) -> list[FieldError]:
    """Where the volumes of a class may lie: each label once, and some values for each."""
    found: list[FieldError] = []
    for term, here in items(storage_class, "", "allowedTopologies"):
        known: set[str] = set()
        for expression, place in items(term, here, "matchLabelExpressions"):
            name, values = expression.get("key") or "", expression.get("values") or []
            found += [invalid(child(place, "key"), name, text) for text in qualified_texts(name)]
            found += [] if values else [required(child(place, "values"))]
            repeated = [i for i, value in enumerate(values) if value in values[:i]]
            found += [duplicate(index(child(place, "values"), i), values[i]) for i in repeated]
            found += [duplicate(child(place, "key"), name)] if name in known else []
            known.add(name)
    return found


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
