"""Warnings about volumes and constraints that do nothing: what a pod's or volume's author should hear at once.

Types that upstream has dropped but that work here (rbd, glusterfs) are not among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.kinds.definitions.rules import items
from holdfast.kinds.kind import Obj
from holdfast.machinery.fielderror import child, index, key

_VOLUMES = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
}
_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}


_RECYCLED = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use"
    " dynamic provisioning."
)


def of_volume(new: Obj, _old: Obj | None) -> list[str]:
    """Of a PersistentVolume."""
    spec = new.get("spec") or {}
    recycled = [_RECYCLED] if spec.get("persistentVolumeReclaimPolicy") == "Recycle" else []
    return [*recycled, *_sources(spec, "spec")]


def in_pods(*path: str) -> Callable[[Obj, Obj | None], list[str]]:
    """Of the pod spec at a path, when it is new or has changed."""

    def warn(new: Obj, old: Obj | None) -> list[str]:
        spec = _at(new, path)
        return _of_spec(spec, ".".join(path)) if old is None or spec != _at(old, path) else []

    return warn


def _at(obj: Obj, path: tuple[str, ...]) -> Obj:
    for part in path:
        obj = obj.get(part) or {}
    return obj


def _of_spec(spec: Obj, path: str) -> list[str]:
    found: list[str] = []
    for position, volume in enumerate(spec.get("volumes") or []):
        found += _sources(volume, index(child(path, "volumes"), position))
    for position, constraint in enumerate(spec.get("topologySpreadConstraints") or []):
        if constraint.get("labelSelector") is None:
            here = child(index(child(path, "topologySpreadConstraints"), position), "labelSelector")
            found.append(f"{here}: a null labelSelector results in matching no pod")
    for name in spec.get("nodeSelector") or {}:
        if name in _LABELS:
            since, instead = _LABELS[name]
            found.append(f'{key(child(path, "nodeSelector"), name)}: deprecated since {since}; use "{instead}" instead')
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        here = child(path, "terminationGracePeriodSeconds")
        found.append(f"{here}: must be >= 0; negative values are invalid and will be treated as 1")
    for container, here in _containers(spec, path):
        found += _environment(container, here)
    return found + _ports(spec, path)


def _containers(spec: Obj, path: str) -> list[tuple[Obj, str]]:
    return [*items(spec, path, "initContainers"), *items(spec, path, "containers")]


def _environment(container: Obj, path: str) -> list[str]:
    seen: set[str] = set()
    found = []
    for entry, here in items(container, path, "env"):
        name = entry.get("name") or ""
        if name in seen:
            found.append(f'{here}: hides previous definition of "{name}", which may be dropped when using apply')
        seen.add(name)
    return found


def _ports(spec: Obj, path: str) -> list[str]:
    """Containers of a pod share its address, so their ports may stand in each other's way."""
    taken: dict[tuple[Any, Any], list[tuple[str, int, str]]] = {}
    found = []
    for container, place in _containers(spec, path):
        for port, here in items(container, place, "ports"):
            host, address = port.get("hostPort") or 0, port.get("hostIP") or ""
            others = taken.setdefault((port.get("containerPort"), port.get("protocol") or "TCP"), [])
            for other, its_host, its_address in others:
                if (host, address) == (its_host, its_address):
                    found.append(f"{here}: duplicate port definition with {other}")
                elif not host or not its_host:
                    found.append(f"{here}: overlapping port definition with {other}")
                elif host == its_host and "" in (address, its_address):
                    found.append(f"{here}: dangerously ambiguous port definition with {other}")
            others.append((here, host, address))
    return found


def _sources(volume: Obj, path: str) -> list[str]:
    return [f"{child(path, name)}: {text}" for name, text in _VOLUMES.items() if volume.get(name) is not None]
