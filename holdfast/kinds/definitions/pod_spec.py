"""PodSpec: defaults and rules that hold for a pod and for every template of one.

Parts with rules of their own (containers, volumes, probes, scheduling, security) stand beside this file.
A mount's volume is looked up by the kinds (``check_mounts``), because a StatefulSet's claim templates
add volumes that its template does not name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.kinds.definitions.container import check_ephemeral, check_init, check_names
from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import fill, fill_absent, ip, items, label, labels, one_of, qualified, subdomain
from holdfast.kinds.definitions.volume import sources
from holdfast.machinery.fielderror import FieldError, child, duplicate, forbidden, index, invalid, required

GROUPS = ("initContainers", "containers", "ephemeralContainers")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill(spec, restartPolicy="Always", dnsPolicy="ClusterFirst", schedulerName="default-scheduler")
    fill_absent(spec, terminationGracePeriodSeconds=30, securityContext={})
    # A negative grace period never meant anything; upstream stores one second.
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    # serviceAccount is the field's old name: both always say the same.
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    if spec.get("hostNetwork"):
        for group in GROUPS:
            for container in spec.get(group) or []:
                for port in container.get("ports") or []:
                    if not port.get("hostPort"):
                        port["hostPort"] = port.get("containerPort")


def request_limits(spec: dict[str, Any]) -> None:
    """Limits without a request become the request: for pods only, templates keep what they say."""
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or []:
            resources = container.get("resources") or {}
            if resources.get("limits"):
                resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}


def _pod_defaults(pod: dict[str, Any]) -> None:
    spec = pod.get("spec")
    if isinstance(spec, dict):
        fill_absent(spec, enableServiceLinks=True)
        request_limits(spec)


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = check_names(spec, path) + check_init(spec, path) + check_ephemeral(spec, path)
    found += _check_host_ports(spec, path) + _check_volume_names(spec, path)
    found += one_of(child(path, "restartPolicy"), spec.get("restartPolicy"), ("Always", "OnFailure", "Never"))
    found += one_of(child(path, "dnsPolicy"), spec.get("dnsPolicy"), DNS_POLICIES)
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        if not spec.get("dnsConfig"):
            found.append(required(child(path, "dnsConfig"), "must provide `dnsConfig` when `dnsPolicy` is None"))
        else:
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            found.append(required(child(path, "dnsConfig", "nameservers"), text))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2147483647:
        found.append(invalid(child(path, "activeDeadlineSeconds"), deadline, "must be between 1 and 2147483647, inclusive"))
    found += labels(child(path, "nodeSelector"), spec.get("nodeSelector"))
    for name in ("nodeName", "serviceAccountName", "priorityClassName", "runtimeClassName"):
        if spec.get(name):
            found += subdomain(child(path, name), spec[name])
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            found += label(child(path, name), spec[name])
    return found + _check_aliases(spec, path) + _check_gates(spec, path)


def _check_volume_names(spec: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for volume, here in items(spec, path, "volumes"):
        name = str(volume.get("name"))
        if name in seen:
            found.append(duplicate(child(here, "name"), name))
        seen.add(name)
    return found


def _check_host_ports(spec: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for container, here in items(spec, path, "containers"):
        for port, place in items(container, here, "ports"):
            host = port.get("hostPort")
            if not host:
                continue
            text = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{host}"
            if spec.get("hostNetwork") and host != port.get("containerPort"):
                found.append(invalid(child(place, "hostPort"), host, "must match `containerPort` when `hostNetwork` is true"))
            if text in seen:
                found.append(duplicate(child(place, "hostPort"), text))
            seen.add(text)
    return found


def _check_aliases(spec: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for alias, here in items(spec, path, "hostAliases"):
        found += ip(child(here, "ip"), alias.get("ip"))
        for position, name in enumerate(alias.get("hostnames") or []):
            found += subdomain(index(child(here, "hostnames"), position), name)
    return found


def _check_gates(spec: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for gate, here in items(spec, path, "readinessGates"):
        found += qualified(child(here, "conditionType"), gate.get("conditionType"))
    seen: set[str] = set()
    for gate, here in items(spec, path, "schedulingGates"):
        name = str(gate.get("name") or "")
        found += qualified(here, name)
        if name in seen:
            found.append(duplicate(here, name))
        seen.add(name)
    if seen and spec.get("nodeName"):
        found.append(forbidden(child(path, "nodeName"), "cannot be set until all schedulingGates have been cleared"))
    return found


def check_mounts(spec: dict[str, Any], path: str, further: Iterable[str] = ()) -> list[FieldError]:
    """Each mount names a volume of the pod (or one of ``further``), each path is mounted once."""
    # A volume of several kinds at once is none that could be mounted.
    known = {str(volume.get("name")) for volume in spec.get("volumes") or [] if len(sources(volume)) <= 1} | set(further)
    found: list[FieldError] = []
    for group in GROUPS:
        for container, here in items(spec, path, group):
            taken: set[str] = set()
            for mount, place in items(container, here, "volumeMounts"):
                if mount.get("name") and mount["name"] not in known:
                    found.append(FieldError("FieldValueNotFound", child(place, "name"), mount["name"]))
                target = mount.get("mountPath") or ""
                if target in taken:
                    found.append(invalid(child(place, "mountPath"), target, "must be unique"))
                if target:
                    taken.add(target)
    return found


overlay(CORE + "PodSpec", defaulter=_spec_defaults, checks=(_check_spec,))
overlay(CORE + "Pod", defaulter=_pod_defaults)
