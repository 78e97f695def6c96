"""What ``kubectl get pods`` shows of a pod: one word for its state, out of phase, containers and deletion.

The order of the rules is upstream's printer: init containers first, then containers from last to
first, then deletion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery.tables import age

GATED = "SchedulingGated"


@dataclass
class _Summary:
    """What one pass over a pod's containers finds out."""

    reason: str
    ready: int = 0
    total: int = 0
    restarts: int = 0
    last: str = ""
    """When a container ended last before it was started again."""


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"


def _true(pod: Obj, kind: str) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == kind and c.get("status") == "True" for c in conditions)


def _finished(entry: Obj) -> str:
    return str(((entry.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or "")


def _count(summary: _Summary, entry: Obj) -> None:
    summary.restarts += int(entry.get("restartCount") or 0)
    summary.last = max(summary.last, _finished(entry))


def _initialize(pod: Obj, summary: _Summary, sidecars: _Summary) -> bool:
    """Walks the init containers in order; True while one of them holds the pod back."""
    declared = {c["name"]: c for c in pod["spec"].get("initContainers") or []}
    for position, entry in enumerate((pod.get("status") or {}).get("initContainerStatuses") or []):
        state = entry.get("state") or {}
        sidecar = declared.get(entry.get("name"), {}).get("restartPolicy") == "Always"
        _count(summary, entry)
        if sidecar:
            _count(sidecars, entry)
        ended = state.get("terminated")
        if ended is not None and not ended.get("exitCode"):
            continue
        if sidecar and entry.get("started"):
            summary.ready += bool(entry.get("ready"))
            continue
        waiting = (state.get("waiting") or {}).get("reason")
        if ended is not None:
            summary.reason = f"Init:{_ended(ended)}"
        elif waiting and waiting != "PodInitializing":
            summary.reason = f"Init:{waiting}"
        else:
            summary.reason = f"Init:{position}/{len(declared)}"
        return True
    return False


def _run(pod: Obj, summary: _Summary) -> None:
    running = False
    for entry in reversed((pod.get("status") or {}).get("containerStatuses") or []):
        state = entry.get("state") or {}
        _count(summary, entry)
        if (state.get("waiting") or {}).get("reason"):
            summary.reason = str(state["waiting"]["reason"])
        elif state.get("terminated") is not None:
            summary.reason = _ended(state["terminated"])
        elif entry.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if _true(pod, "Ready") else "NotReady"


def summarize(pod: Obj) -> _Summary:
    status, spec = pod.get("status") or {}, pod["spec"]
    summary = _Summary(str(status.get("reason") or status.get("phase") or ""))
    if any(c.get("type") == "PodScheduled" and c.get("reason") == GATED for c in status.get("conditions") or []):
        summary.reason = GATED
    summary.total = len(spec.get("containers") or [])
    summary.total += sum(c.get("restartPolicy") == "Always" for c in spec.get("initContainers") or [])
    sidecars = _Summary("")
    if not _initialize(pod, summary, sidecars) or _true(pod, "Initialized"):
        # Once init is over, only sidecars' restarts count beside the main containers'.
        summary.restarts, summary.last = sidecars.restarts, sidecars.last
        _run(pod, summary)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif status.get("phase") not in ("Failed", "Succeeded"):
            summary.reason = "Terminating"
    return summary


def word(pod: Obj) -> str:
    """The STATUS column."""
    return summarize(pod).reason


def ready(pod: Obj, _now: float) -> str:
    summary = summarize(pod)
    return f"{summary.ready}/{summary.total}"


def restarts(pod: Obj, now: float) -> str:
    summary = summarize(pod)
    return f"{summary.restarts} ({age(summary.last, now)} ago)" if summary.restarts and summary.last else str(summary.restarts)


def address(pod: Obj, _now: float) -> str:
    status = pod.get("status") or {}
    listed = [str(entry.get("ip") or "") for entry in status.get("podIPs") or []]
    return (listed[0] if listed else str(status.get("podIP") or "")) or "<none>"


def gates(pod: Obj, _now: float) -> str:
    wanted = [g["conditionType"] for g in pod["spec"].get("readinessGates") or []]
    if not wanted:
        return "<none>"
    true = {c["type"] for c in (pod.get("status") or {}).get("conditions") or [] if c.get("status") == "True"}
    return f"{sum(gate in true for gate in wanted)}/{len(wanted)}"


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort (KEP: resource QoS)."""
    seen: list[Any] = []
    guaranteed = True
    for container in (spec.get("containers") or []) + (spec.get("initContainers") or []):
        resources = container.get("resources") or {}
        requests = {k: v for k, v in (resources.get("requests") or {}).items() if k in ("cpu", "memory")}
        limits = {k: v for k, v in (resources.get("limits") or {}).items() if k in ("cpu", "memory")}
        seen += [*requests, *limits]
        if set(limits) != {"cpu", "memory"} or any(requests.get(k, v) != v for k, v in limits.items()):
            guaranteed = False
    if not seen:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
