"""Warnings about volumes and constraints that do nothing: what a pod's or volume's author should hear at once.

Types that upstream has dropped but that work here (rbd, glusterfs) are not among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery.fielderror import child, index

_VOLUMES = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
}


def of_volume(new: Obj, _old: Obj | None) -> list[str]:
    """Of a PersistentVolume."""
    return _sources(new.get("spec") or {}, "spec")


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
    for kind in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(kind) or []):
            found += _ports(container, index(child(path, kind), position))
    return found


def _ports(container: Obj, path: str) -> list[str]:
    seen: dict[tuple[Any, ...], str] = {}
    found = []
    for position, port in enumerate(container.get("ports") or []):
        here = index(child(path, "ports"), position)
        key = (port.get("containerPort"), port.get("hostPort"), port.get("hostIP"), port.get("protocol") or "TCP")
        if key in seen:
            found.append(f"{here}: duplicate port definition with {seen[key]}")
        seen.setdefault(key, here)
    return found


def _sources(volume: Obj, path: str) -> list[str]:
    return [f"{child(path, name)}: {text}" for name, text in _VOLUMES.items() if volume.get(name) is not None]
