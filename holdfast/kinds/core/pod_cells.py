"""What ``kubectl get pods`` shows of a pod: one word for its state, out of phase, containers and deletion.

The order of the rules is upstream's printer: init containers first, then containers from last to
first, then deletion.
"""

from __future__ import annotations

from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery.tables import age


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"


def _init_word(pod: Obj, statuses: list[Obj]) -> str:
    """``Init:...`` while an init container holds the pod back; "" once all are through."""
    declared = {c["name"]: c for c in pod["spec"].get("initContainers") or []}
    for position, status in enumerate(statuses):
        state = status.get("state") or {}
        sidecar = declared.get(status.get("name"), {}).get("restartPolicy") == "Always"
        if "terminated" in state and not state["terminated"].get("exitCode"):
            continue
        if sidecar and status.get("started"):
            continue
        if "terminated" in state:
            return f"Init:{_ended(state['terminated'])}"
        waiting = (state.get("waiting") or {}).get("reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{position}/{len(declared)}"
    return ""


def word(pod: Obj) -> str:
    """The STATUS column."""
    status = pod.get("status") or {}
    shown = str(status.get("reason") or status.get("phase") or "")
    initializing = _init_word(pod, status.get("initContainerStatuses") or [])
    if initializing:
        shown = initializing
    else:
        running = False
        for entry in reversed(status.get("containerStatuses") or []):
            state = entry.get("state") or {}
            if (state.get("waiting") or {}).get("reason"):
                shown = state["waiting"]["reason"]
            elif "terminated" in state:
                shown = _ended(state["terminated"])
            elif entry.get("ready") and "running" in state:
                running = True
        if shown == "Completed" and running:
            ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or [])
            shown = "Running" if ready else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in ("Failed", "Succeeded"):
            return "Terminating"
    return shown


def ready(pod: Obj, _now: float) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    count = sum(bool(s.get("ready") and "running" in (s.get("state") or {})) for s in statuses)
    return f"{count}/{len(pod['spec'].get('containers') or [])}"


def restarts(pod: Obj, now: float) -> str:
    status = pod.get("status") or {}
    initializing = _init_word(pod, status.get("initContainerStatuses") or [])
    entries = status.get("initContainerStatuses" if initializing else "containerStatuses") or []
    total = sum(int(entry.get("restartCount") or 0) for entry in entries)
    last = max((_finished(entry) for entry in entries), default="")
    return f"{total} ({age(last, now)} ago)" if total and last else str(total)


def _finished(entry: Obj) -> str:
    return str(((entry.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or "")


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
