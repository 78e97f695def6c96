"""Endpoints of a Service out of its pods. Pure.

Pods with an address count while they are not finished. One that is going stays in the slices as ``terminating``
and not ready, and leaves the Endpoints at once (features 2.2; a hostname only for a pod whose subdomain is the Service).
Pods that answer a named port under different numbers form groups: one slice or subset each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.controllers.pods import has_ended
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
ENDPOINTS_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
SLICE_LIMIT = 100

_Ports = tuple[tuple[str, str, int | None, str], ...]
"""(name, protocol, number, appProtocol) of each port."""


def is_headless(service: Obj) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def selects(service: Obj) -> Mapping[str, str] | None:
    """The selector; None for a Service whose endpoints somebody else keeps."""
    spec = service["spec"]
    found: Mapping[str, str] | None = spec.get("selector") or None
    return None if spec.get("type") == "ExternalName" else found


def is_endpoint(pod: Obj) -> bool:
    return bool((pod.get("status") or {}).get("podIP")) and not has_ended(pod)


def _number(port: Obj, pod: Obj) -> int | None:
    """The pod's number for a port of the Service; None when it has no port of that name."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target or int(port["port"])
    protocol = port.get("protocol", "TCP")
    for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        for entry in container.get("ports") or []:
            if entry.get("name") == target and entry.get("protocol", "TCP") == protocol:
                return int(entry["containerPort"])
    return None


def _ports(service: Obj, pod: Obj) -> _Ports:
    found = []
    for port in service["spec"].get("ports") or []:
        number = _number(port, pod)
        if number is not None:
            found.append((port.get("name") or "", port.get("protocol") or "TCP", number, port.get("appProtocol") or ""))
    return tuple(found)


def _grouped(service: Obj, pods: Iterable[Obj]) -> dict[_Ports, list[Obj]]:
    """Pods by the ports they answer on, oldest first. A pod that lacks all the named ports is no endpoint."""
    groups: dict[_Ports, list[Obj]] = {}
    for pod in sorted(pods, key=lambda p: (p["metadata"].get("creationTimestamp") or "", meta.name(p))):
        ports = _ports(service, pod)
        if ports or is_headless(service):
            groups.setdefault(ports, []).append(pod)
    return groups


def _port_objects(ports: _Ports) -> list[Obj]:
    return [
        {"name": name, "protocol": protocol, "port": number} | ({"appProtocol": app} if app else {})
        for name, protocol, number, app in ports
    ]


def _hostname(service: Obj, pod: Obj) -> str:
    spec = pod["spec"]
    return str(spec["hostname"]) if spec.get("hostname") and spec.get("subdomain") == meta.name(service) else ""


def _reference(pod: Obj) -> Obj:
    return {"kind": "Pod", "namespace": meta.namespace(pod), "name": meta.name(pod), "uid": meta.uid(pod)}


def _addresses(pod: Obj) -> list[str]:
    status = pod["status"]
    every = [entry["ip"] for entry in status.get("podIPs") or [] if entry.get("ip")] or [status["podIP"]]
    return [ip for ip in every if ":" not in ip]


def endpoint_of(service: Obj, pod: Obj) -> Obj:
    """The pod as an entry of a slice."""
    ready, going = meta.condition_true(pod, "Ready"), meta.is_terminating(pod)
    conditions = {
        "ready": bool(service["spec"].get("publishNotReadyAddresses")) or (ready and not going),
        "serving": ready,
        "terminating": going,
    }
    found: Obj = {"addresses": _addresses(pod)[:1], "conditions": conditions, "targetRef": _reference(pod)}
    if hostname := _hostname(service, pod):
        found["hostname"] = hostname
    if pod["spec"].get("nodeName"):
        found["nodeName"] = pod["spec"]["nodeName"]
    return found


def labels_for(service: Obj) -> dict[str, str]:
    kept = {k: v for k, v in meta.labels_of(service).items() if k not in (SERVICE_NAME, MANAGED_BY, HEADLESS)}
    kept |= {SERVICE_NAME: meta.name(service), MANAGED_BY: MANAGER}
    return kept | ({HEADLESS: ""} if is_headless(service) else {})


def slices(service: Obj, pods: Iterable[Obj]) -> list[Obj]:
    """``endpoints`` and ``ports`` of each slice wanted; one without endpoints when there are none."""
    wanted: list[Obj] = []
    for ports, members in _grouped(service, [pod for pod in pods if _addresses(pod)]).items():
        entries = [endpoint_of(service, pod) for pod in members]
        parts = (entries[start : start + SLICE_LIMIT] for start in range(0, len(entries), SLICE_LIMIT))
        wanted += [{"endpoints": part, "ports": _port_objects(ports)} for part in parts]
    return wanted or [{"endpoints": [], "ports": []}]


def subsets(service: Obj, pods: Iterable[Obj]) -> list[Obj]:
    """The Endpoints object's subsets: ready addresses and those not ready, by ports."""
    tolerant = bool(service["spec"].get("publishNotReadyAddresses"))
    found: list[Obj] = []
    for ports, members in _grouped(service, [p for p in pods if tolerant or not meta.is_terminating(p)]).items():
        ready: list[Obj] = []
        waiting: list[Obj] = []
        for pod in members:
            address: Obj = {"ip": pod["status"]["podIP"], "targetRef": _reference(pod)}
            if hostname := _hostname(service, pod):
                address["hostname"] = hostname
            if pod["spec"].get("nodeName"):
                address["nodeName"] = pod["spec"]["nodeName"]
            (ready if tolerant or meta.condition_true(pod, "Ready") else waiting).append(address)
        subset: Obj = {}
        for field, addresses in (("addresses", ready), ("notReadyAddresses", waiting)):
            if addresses:
                subset[field] = sorted(addresses, key=lambda a: str(a["ip"]))
        if subset:
            subset["ports"] = _port_objects(ports)
            if not ports:
                del subset["ports"]
            found.append(subset)
    return found


def endpoints_labels(service: Obj) -> dict[str, str]:
    found = dict(meta.labels_of(service)) | {ENDPOINTS_MANAGED_BY: "endpoint-controller"}
    return found | ({HEADLESS: ""} if is_headless(service) else {})


def same_ports(one: Any, other: Any) -> bool:
    """Whether two port lists say the same, whatever was defaulted in the stored one."""

    def form(ports: Any) -> list[tuple[Any, ...]]:
        return sorted((p.get("name") or "", p.get("protocol") or "TCP", p.get("port"), p.get("appProtocol") or "") for p in ports or [])

    return form(one) == form(other)
