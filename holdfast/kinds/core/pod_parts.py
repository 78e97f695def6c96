"""The two parts of a pod's spec that have a subresource of their own: ephemeral containers, and the resources of the others.

Each write takes its part and nothing else into the stored pod; the checks say what of that part may change. (KEP-277
ephemeral containers: added, never changed or removed. KEP-1287 resize: cpu and memory, within the class of service.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from holdfast.kinds.core.pod_cells import qos_class
from holdfast.kinds.definitions.pod_spec import check_mounts, request_limits
from holdfast.kinds.diffs import changed
from holdfast.kinds.kind import Obj, Subresource
from holdfast.machinery.fielderror import FieldError, forbidden, invalid

MIRROR = "kubernetes.io/config.mirror"
_WRITTEN = ("get", "patch", "update")
_GROUPS = ("containers", "initContainers")
_RESIZED = ("cpu", "memory")


def _take_ephemeral(stored: Obj, written: Obj) -> None:
    wanted = (written.get("spec") or {}).get("ephemeralContainers")
    if wanted:
        stored["spec"]["ephemeralContainers"] = wanted
    else:
        stored["spec"].pop("ephemeralContainers", None)


def _check_ephemeral(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is None:
        return []
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden("", "static pods do not support ephemeral containers")]
    found = check_mounts(new["spec"], "spec")
    now = {container["name"]: container for container in new["spec"].get("ephemeralContainers") or []}
    for container in old["spec"].get("ephemeralContainers") or []:
        there, quoted = now.get(container["name"]), f'existing ephemeral containers "{container["name"]}"'
        if there is None:
            found.append(forbidden("spec.ephemeralContainers", f"{quoted} may not be removed\n"))
        elif there != container:
            found.append(forbidden("spec.ephemeralContainers", f"{quoted} may not be changed\n{changed(container, there)}"))
    return found


def _take_resources(stored: Obj, written: Obj) -> None:
    for group in _GROUPS:
        given = {container.get("name"): container for container in (written.get("spec") or {}).get(group) or []}
        for container in stored["spec"].get(group) or []:
            other = given.get(container["name"])
            for name in ("resources", "resizePolicy"):
                if other is not None and name in other:
                    container[name] = other[name]
                elif other is not None and name != "resources":
                    container.pop(name, None)
    request_limits(stored["spec"])


def _pairs(new: Obj, old: Obj, group: str) -> Iterator[tuple[Obj, Obj]]:
    return zip(new["spec"].get(group) or [], old["spec"].get(group) or [], strict=True)


def _check_resize(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is None:
        return []
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [forbidden("", "static pods cannot be resized")]
    found = check_mounts(new["spec"], "spec")
    if qos_class(new["spec"]) != qos_class(old["spec"]):
        found.append(invalid("spec", qos_class(new["spec"]), "Pod QOS Class may not change as a result of resizing"))
    if not _resizable(old):
        found.append(forbidden("spec", "Pod running on node without support for resize"))
    for now, was in _pairs(new, old, "initContainers"):
        if was.get("restartPolicy") != "Always" and now.get("resources") != was.get("resources"):
            found.append(forbidden("spec.initContainers", "resources for non-sidecar init containers are immutable"))
    for group in _GROUPS:
        for now, was in _pairs(new, old, group):
            for side in ("limits", "requests"):
                gone = [name for name in _RESIZED if name in _amounts(was, side) and name not in _amounts(now, side)]
                if gone:
                    found.append(forbidden(f"spec.{group}", f"resource {side} cannot be removed"))
    if _unresized(new) != _unresized(old):
        text = f"only cpu and memory resources are mutable\n{changed(_unresized(old)['spec'], _unresized(new)['spec'])}"
        found.append(forbidden("spec", text))
    return found


def _resizable(pod: Obj) -> bool:
    """A node that can resize says of each running container what it has."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return all(one.get("resources") is not None for one in statuses if (one.get("state") or {}).get("running") is not None)


def _amounts(container: Obj, side: str) -> dict[str, Any]:
    found: dict[str, Any] = (container.get("resources") or {}).get(side) or {}
    return found


def _unresized(pod: Obj) -> Obj:
    """The pod without what a resize may change."""
    spec = copy.deepcopy(pod["spec"])
    for group in _GROUPS:
        for container in spec.get(group) or []:
            container.pop("resizePolicy", None)
            resources = container.pop("resources", None) or {}
            rest = {
                name: {key: value for key, value in amounts.items() if key not in _RESIZED} if isinstance(amounts, dict) else amounts
                for name, amounts in resources.items()
            }
            container["resources"] = {name: amounts for name, amounts in rest.items() if amounts}
    return {"spec": spec}


EPHEMERAL = Subresource("ephemeralcontainers", _WRITTEN, part=_take_ephemeral, checks=(_check_ephemeral,))
RESIZE = Subresource("resize", _WRITTEN, part=_take_resources, checks=(_check_resize,))
