"""What is allowed but unwise: the warnings that an author gets with the answer (``Kind.warnings``).

Upstream's texts. They are about what a write brings in, so an update is only warned about what it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from holdfast.kinds.definitions.rules import items
from holdfast.kinds.kind import Obj
from holdfast.machinery.fielderror import child, key

_LONG_GONE = "deprecated in v1.22, non-functional in v1.25+"
_GONE = "deprecated in v1.28, non-functional in v1.31+"
_SOURCES = {
    "cephfs": _GONE,
    "flocker": _LONG_GONE,
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "quobyte": _LONG_GONE,
    "rbd": _GONE,
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": _LONG_GONE,
}
_LABELS = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_NO_POD = "a null labelSelector results in matching no pod"
_PEM = b"-----BEGIN "


def of_source(volume: Mapping[str, Any], path: str) -> Iterator[str]:
    """A volume's source, in a pod or in a PersistentVolume."""
    yield from (f"{child(path, name)}: {why}" for name, why in _SOURCES.items() if volume.get(name) is not None)


def of_pod_spec(spec: Obj, path: str) -> Iterator[str]:
    for name in spec.get("nodeSelector") or {}:
        if name in _LABELS:
            since, instead = _LABELS[name]
            yield f'{key(child(path, "nodeSelector"), name)}: deprecated since {since}; use "{instead}" instead'
    for constraint, here in items(spec, path, "topologySpreadConstraints"):
        if constraint.get("labelSelector") is None:
            yield f"{child(here, 'labelSelector')}: {_NO_POD}"
    for volume, here in items(spec, path, "volumes"):
        yield from of_source(volume, here)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        yield f"{child(path, 'terminationGracePeriodSeconds')}: must be >= 0; negative values are invalid and will be treated as 1"
    for container, here in (*items(spec, path, "initContainers"), *items(spec, path, "containers")):
        yield from _of_environment(container, here)
    yield from _of_ports(spec, path)


def _of_environment(container: Obj, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for entry, here in items(container, path, "env"):
        name = entry.get("name") or ""
        if name in seen:
            yield f'{here}: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _of_ports(spec: Obj, path: str) -> Iterator[str]:
    taken: dict[tuple[Any, Any], list[tuple[str, int, str]]] = {}
    for container, place in (*items(spec, path, "initContainers"), *items(spec, path, "containers")):
        for port, here in items(container, place, "ports"):
            host, address = port.get("hostPort") or 0, port.get("hostIP") or ""
            others = taken.setdefault((port.get("containerPort"), port.get("protocol")), [])
            for other, its_host, its_address in others:
                if (host, address) == (its_host, its_address):
                    yield f"{here}: duplicate port definition with {other}"
                elif not host or not its_host:
                    yield f"{here}: overlapping port definition with {other}"
                elif host == its_host and "" in (address, its_address):
                    yield f"{here}: dangerously ambiguous port definition with {other}"
            others.append((here, host, address))


def pod(new: Obj, old: Obj | None) -> Iterator[str]:
    if old is None:
        yield from of_pod_spec(new["spec"], "spec")


def template(*below: str) -> Callable[[Obj, Obj | None], Iterator[str]]:
    """For kinds that make pods: ``below`` leads from spec to what has the template."""

    def warnings(new: Obj, old: Obj | None) -> Iterator[str]:
        if old is not None and old.get("spec") == new.get("spec"):
            return
        spec = new
        for name in ("spec", *below, "template", "spec"):
            spec = spec.get(name) or {}
        yield from of_pod_spec(spec, ".".join(("spec", *below, "template", "spec")))

    return warnings


def history(new: Obj, _old: Obj | None) -> Iterator[str]:
    if (new["spec"].get("revisionHistoryLimit") or 0) < 0:
        text = "a negative value retains all historical revisions; a value >= 0 is recommended"
        yield f"spec.revisionHistoryLimit: {text}"


def volume(new: Obj, old: Obj | None) -> Iterator[str]:
    if old is None:
        yield from of_source(new["spec"], "spec")


def key_pair(decoded: Mapping[str, bytes]) -> Iterator[str]:
    """A TLS secret's certificate and key, in the order that they would be read."""
    for name, what in (("tls.crt", "certificate"), ("tls.key", "key")):
        if _PEM not in decoded.get(name, b""):
            yield f"tls: failed to find any PEM data in {what} input"
            return
