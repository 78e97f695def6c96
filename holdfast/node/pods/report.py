"""The status a pod shows: phase, conditions and container statuses, derived from what is seen; pure.

Times of conditions are kept from the status the API holds while a condition does not change.
"""

from __future__ import annotations

from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import quantity
from holdfast.node.pods.model import (
    View,
    containers,
    ephemeral_containers,
    full_name,
    init_containers,
    is_recursive,
    is_sidecar,
    latest,
    previous,
    reported,
    restarts,
)
from holdfast.node.runtimes.api import InstanceState

SCHEME = "holdfast://"


def make_status(view: View, *, deadline_exceeded: bool = False, backing_off: frozenset[str] = frozenset()) -> Obj:
    """The parts of status that the node owns."""
    pod, old = view.pod, view.pod.get("status") or {}
    init_done = _init_done(view)
    inits = [_container_status(view, c, True, init_done, backing_off) for c in init_containers(pod)]
    mains = [_container_status(view, c, False, init_done, backing_off) for c in containers(pod)]
    ephemeral = [_container_status(view, c, False, True, backing_off) for c in ephemeral_containers(pod)]
    phase = _phase(view, inits, mains, init_done)
    status: Obj = {"phase": phase, "hostIP": view.host_ip, "hostIPs": [{"ip": view.host_ip}]}
    if deadline_exceeded or (old.get("reason") == "DeadlineExceeded" and phase == "Failed"):
        status |= {
            "phase": "Failed",
            "reason": "DeadlineExceeded",
            "message": "Pod was active on the node longer than the specified deadline",
        }
    ip = view.network.ip if view.network else old.get("podIP")
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
    status["startTime"] = old.get("startTime") or rfc3339(view.now)
    status["qosClass"] = old.get("qosClass") or qos_class(pod)
    if generation := pod["metadata"].get("generation"):
        status["observedGeneration"] = generation
    if inits:
        status["initContainerStatuses"] = inits
    status["containerStatuses"] = mains
    if ephemeral:
        status["ephemeralContainerStatuses"] = [
            {name: value for name, value in one.items() if name != "started"} | {"ready": False} for one in ephemeral
        ]
    status["conditions"] = _conditions(view, status, inits, mains, init_done)
    return status


def _init_done(view: View) -> bool:
    pod, instances = view.pod, view.instances.values()
    if any(latest(instances, c["name"]) for c in containers(pod)):
        return True
    if not view.instances and any(reported(pod, c["name"]).get("containerID") for c in containers(pod)):
        return not init_containers(pod)
    for container in init_containers(pod):
        last = latest(instances, container["name"])
        if is_sidecar(container):
            if last is None or last.id not in view.started:
                return False
        elif last is None or last.phase != "exited" or last.exit_code != 0:
            return False
    return True


def _mount(mount: Obj) -> Obj:
    """A mount as it is (KEP-3857): read-only ones say whether what is mounted below them is so, too."""
    found = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if not mount.get("readOnly"):
        return found
    return found | {"readOnly": True, "recursiveReadOnly": "Enabled" if is_recursive(mount) else "Disabled"}


def _container_status(view: View, container: Obj, init: bool, init_done: bool, backing_off: frozenset[str]) -> Obj:
    name = container["name"]
    instances = view.instances.values()
    last, before, known = latest(instances, name), previous(instances, name), reported(view.pod, name)
    status: Obj = {
        "name": name,
        "image": container.get("image", ""),
        "imageID": known.get("imageID") or "",
        "restartCount": last.attempt if last else int(known.get("restartCount") or 0),
        "ready": False,
        "started": False,
        "state": {},
        "lastState": {},
    }
    if mounts := [_mount(mount) for mount in container.get("volumeMounts") or ()]:
        status["volumeMounts"] = mounts
    earlier = {"terminated": _terminated(before)} if before else _earlier(known, last)
    if last is None:
        status["state"] = {"waiting": _waiting(view, name, init_done or init)}
        status["lastState"] = _lost(known, view)
        if known.get("containerID"):
            status["containerID"] = known["containerID"]
        return status
    status["containerID"] = SCHEME + last.id
    status["imageID"] = view.image_ids.get(last.id) or status["imageID"]
    status["lastState"] = earlier
    if last.phase == "running":
        status["state"] = {"running": {"startedAt": rfc3339(last.started_at)}}
        status["started"] = last.id in view.started
        status["ready"] = last.id in view.started and last.id in view.passing
        return status
    again = restarts(view.pod, container, last.exit_code, init=init) and not view.pod["metadata"].get("deletionTimestamp")
    if again and not view.stopping and (name in backing_off or name in view.failures):
        status["lastState"] = {"terminated": _terminated(last)}
        status["state"] = {"waiting": _back_off(view, name) if name in backing_off else _waiting(view, name, True)}
    else:
        status["state"] = {"terminated": _terminated(last)}
        status["ready"] = init and last.exit_code == 0 and not is_sidecar(container)
    return status


def _earlier(known: Obj, last: InstanceState | None) -> Obj:
    """lastState as the API has it, when the instance it tells of is no longer here."""
    if last is not None and known.get("containerID") not in (None, "", SCHEME + last.id):
        ended = (known.get("state") or {}).get("terminated") or (known.get("lastState") or {}).get("terminated")
        return {"terminated": ended} if ended else {}
    return known.get("lastState") or {}


def _lost(known: Obj, view: View) -> Obj:
    """A container that ran according to the API but of which nothing is left here (a reboot)."""
    state = known.get("state") or {}
    if state.get("terminated"):
        return {"terminated": state["terminated"]}
    if state.get("running"):
        return {
            "terminated": {
                "exitCode": 137,
                "reason": "ContainerStatusUnknown",
                "message": "The container could not be located when the pod was terminated",
                "startedAt": state["running"].get("startedAt"),
                "finishedAt": rfc3339(view.now),
                "containerID": known.get("containerID", ""),
            }
        }
    return known.get("lastState") or {}


def _terminated(instance: InstanceState) -> Obj:
    out: Obj = {
        "exitCode": instance.exit_code,
        "reason": instance.reason or ("Completed" if instance.exit_code == 0 else "Error"),
        "startedAt": rfc3339(instance.started_at),
        "finishedAt": rfc3339(instance.finished_at),
        "containerID": SCHEME + instance.id,
    }
    if instance.signal:
        out["signal"] = instance.signal
    if instance.message:
        out["message"] = instance.message
    return out


def _waiting(view: View, name: str, may_start: bool) -> Obj:
    failure = view.failures.get(name)
    if failure is not None:
        return {"reason": failure.reason, "message": failure.message}
    if may_start or not init_containers(view.pod):
        return {"reason": "ContainerCreating"}
    return {"reason": "PodInitializing"}


def _back_off(view: View, name: str) -> Obj:
    seconds = view.delays.get(name, 10.0)
    minutes, rest = divmod(int(seconds), 60)
    text = f"{minutes}m{rest}s" if minutes else f"{rest}s"
    message = f"back-off {text} restarting failed container={name} pod={full_name(view.pod)}"
    return {"reason": "CrashLoopBackOff", "message": message}


def _phase(view: View, inits: list[Obj], mains: list[Obj], init_done: bool) -> str:
    old = (view.pod.get("status") or {}).get("phase") or "Pending"
    if old in ("Succeeded", "Failed"):
        return str(old)
    policy = view.pod["spec"].get("restartPolicy") or "Always"
    passing_by = {container["name"] for container in ephemeral_containers(view.pod)}
    alive = any(i.phase == "running" and i.container not in passing_by for i in view.instances.values())
    # A start under way when the pod is deleted may yet bring up an instance: a terminal phase would be a lie that stays.
    if (view.pod["metadata"].get("deletionTimestamp") or view.gone) and not alive and not view.busy:
        codes = [(s["state"].get("terminated") or {}).get("exitCode") for s in mains]
        if all(code == 0 for code in codes):
            return "Succeeded"
        return "Failed"
    if not init_done:
        failed = any(
            (s["state"].get("terminated") or {}).get("exitCode") and not is_sidecar(c)
            for s, c in zip(inits, init_containers(view.pod), strict=True)
        )
        if failed and policy == "Never" and not alive:
            return "Failed"
        return "Running" if old == "Running" else "Pending"
    fresh = [s for s in mains if s["state"].get("waiting") and not s["lastState"].get("terminated")]
    if fresh:
        return "Running" if old == "Running" else "Pending"
    if alive or policy == "Always":
        return "Running"
    codes = [(s["state"].get("terminated") or {}).get("exitCode") for s in mains]
    if all(code == 0 for code in codes):
        return "Succeeded"
    if policy == "Never":
        return "Failed"
    return "Running"


def _conditions(view: View, status: Obj, inits: list[Obj], mains: list[Obj], init_done: bool) -> list[Obj]:
    pod, phase = view.pod, status["phase"]
    specs = dict(zip([s["name"] for s in inits], init_containers(pod), strict=True))
    watched = [s for s in inits if is_sidecar(specs[s["name"]])] + mains
    unready = [s["name"] for s in watched if not s["ready"]]
    done = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    initialized: Obj = {"status": "True"}
    if not init_done:
        incomplete = [s["name"] for s in inits if not (s["ready"] or s["started"])]
        initialized = {
            "status": "False",
            "reason": "ContainersNotInitialized",
            "message": f"containers with incomplete status: [{' '.join(incomplete)}]",
        }
    elif done:
        initialized["reason"] = done
    ready: Obj = {"status": "True"}
    if done:
        ready = {"status": "False", "reason": done}
    elif unready or not init_done:
        ready = {
            "status": "False",
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{' '.join(unready)}]",
        }
    wanted = [
        {"type": "PodReadyToStartContainers", "status": "True" if view.network is not None else "False"},
        {"type": "Initialized", **initialized},
        {"type": "Ready", **(_gates(pod) if ready["status"] == "True" else ready)},
        {"type": "ContainersReady", **ready},
    ]
    if not any(c["type"] == "PodScheduled" for c in (pod.get("status") or {}).get("conditions") or ()):
        wanted.append({"type": "PodScheduled", "status": "True"})
    return [_dated(view, condition) for condition in wanted]


def _gates(pod: Obj) -> Obj:
    """Readiness gates: conditions that others must set to True."""
    have = {c["type"]: c.get("status") for c in (pod.get("status") or {}).get("conditions") or ()}
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in have:
            return {
                "status": "False",
                "reason": "ReadinessGatesNotReady",
                "message": f'corresponding condition of pod readiness gate "{kind}" does not exist.',
            }
        if have[kind] != "True":
            return {
                "status": "False",
                "reason": "ReadinessGatesNotReady",
                "message": f'the status of pod readiness gate "{kind}" is not "True", but {have[kind]}',
            }
    return {"status": "True"}


def _dated(view: View, condition: Obj) -> Obj:
    kept: dict[str, Any] = {}
    for old in (view.pod.get("status") or {}).get("conditions") or ():
        if old["type"] == condition["type"] and old.get("status") == condition["status"]:
            kept = old
    out = {**condition, "lastProbeTime": None, "lastTransitionTime": kept.get("lastTransitionTime") or rfc3339(view.now)}
    if generation := view.pod["metadata"].get("generation"):
        out["observedGeneration"] = generation
    return out


def qos_class(pod: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, by requests and limits of all containers."""
    any_set, guaranteed = False, True
    for container in [*init_containers(pod), *containers(pod)]:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name), requests.get(name, limits.get(name))
            if limit is not None or request is not None:
                any_set = True
            if limit is None or request is None or quantity.parse(limit) != quantity.parse(request):
                guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
