"""Pod: the instance of an application. Bound by the scheduler, run and finally removed by its node."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.core import outdated, pod_cells
from holdfast.kinds.core.pod_parts import EPHEMERAL, RESIZE
from holdfast.kinds.core.pod_update import check_update
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.pod_spec import check_mounts
from holdfast.kinds.kind import Column, Kind, Obj, Subresource, proxied
from holdfast.kinds.resources import PODS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, forbidden

_GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        spec = new.get("spec") or {}
        new["status"] = {"phase": "Pending", "qosClass": pod_cells.qos_class(spec)}
        if spec.get("schedulingGates"):
            new["status"]["conditions"] = [dict(_GATED)]


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    found = check_mounts(new.get("spec") or {}, "spec")
    if old is not None:
        return found + check_update(new, old)
    if (new.get("spec") or {}).get("ephemeralContainers"):
        found.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    return found


def _grace(pod: Obj) -> int:
    """Unscheduled and finished pods go at once: nobody has to stop them."""
    if not pod["spec"].get("nodeName") or (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    seconds = pod["spec"].get("terminationGracePeriodSeconds")
    return 30 if seconds is None else int(seconds)


def _field(*path: str) -> Any:
    cell = at(*path, default="")
    return lambda obj: str(cell(obj, 0))


KIND = Kind(
    resource=PODS,
    schema=schema_of(CORE + "Pod"),
    singular="pod",
    short_names=("po",),
    categories=("all",),
    storage="pods",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    checks=(_check,),
    subresources={
        "status": Subresource("status", ("get", "patch", "update")),
        "binding": Subresource("binding", ("create",), kind="Binding"),
        "eviction": Subresource("eviction", ("create",), kind="Eviction", group="policy", version="v1"),
        "exec": Subresource("exec", ("create", "get"), kind="PodExecOptions"),
        "attach": Subresource("attach", ("create", "get"), kind="PodAttachOptions"),
        "portforward": Subresource("portforward", ("create", "get"), kind="PodPortForwardOptions"),
        "log": Subresource("log", ("get",)),
        "proxy": proxied("PodProxyOptions"),
        "ephemeralcontainers": EPHEMERAL,
        "resize": RESIZE,
    },
    warnings=(outdated.in_pods("spec"),),
    columns=(
        NAME,
        Column("Ready", pod_cells.ready, description="Ready containers of all."),
        Column("Status", lambda pod, _now: pod_cells.word(pod), description="The pod's state in a word."),
        Column("Restarts", pod_cells.restarts, description="How often its containers were started again."),
        AGE,
        Column("IP", pod_cells.address, priority=1, description="Its address."),
        Column("Node", at("spec", "nodeName"), priority=1, description="Where it runs."),
        Column("Nominated Node", at("status", "nominatedNodeName"), priority=1, description="Where room is being made for it."),
        Column("Readiness Gates", pod_cells.gates, priority=1, description="Gates that are open."),
    ),
    selectable={
        "spec.nodeName": _field("spec", "nodeName"),
        "spec.restartPolicy": _field("spec", "restartPolicy"),
        "spec.schedulerName": _field("spec", "schedulerName"),
        "spec.serviceAccountName": _field("spec", "serviceAccountName"),
        "spec.hostNetwork": lambda pod: "true" if pod["spec"].get("hostNetwork") else "false",
        "status.phase": _field("status", "phase"),
        "status.podIP": _field("status", "podIP"),
        "status.nominatedNodeName": _field("status", "nominatedNodeName"),
    },
    default_grace=_grace,
)
