"""What a pod and a claim wait for, from what they and the objects around them show, as ``Wait`` records. Pure.

``decide`` says which member holds a set up; this says why that member is not what it should be: not scheduled, a volume,
an image, a crash, a probe, an end that does not come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.controllers.statefulset import objects
from holdfast.controllers.statefulset.waits import Wait
from holdfast.kinds.core import growth
from holdfast.kinds.core.claims import PROVISIONERS, SELECTED_NODE, claims_of, class_of
from holdfast.kinds.kind import Obj
from holdfast.kinds.storage.storageclass import NO_PROVISIONER, WAITS, is_default
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery import meta


@dataclass(frozen=True)
class Around:
    """The objects around, by name. None: they may not be listed, so their absence says nothing."""

    nodes: Mapping[str, Obj] | None = field(default_factory=dict)
    pods: Mapping[str, Obj] = field(default_factory=dict)
    claims: Mapping[str, Obj] = field(default_factory=dict)
    volumes: Mapping[str, Obj] | None = field(default_factory=dict)
    classes: Mapping[str, Obj] | None = field(default_factory=dict)
    events: Mapping[str, list[Obj]] = field(default_factory=dict)
    """Warning events by the uid of the object they are about, newest first."""

    def last_event(self, obj: Obj, *reasons: str) -> str:
        for event in self.events.get(meta.uid(obj), []):
            if not reasons or event.get("reason") in reasons:
                return str(event.get("message") or "").strip()
        return ""


def _comma(said: str) -> str:
    return f": {said}" if said else ""


def of_pod(pod: Obj, around: Around) -> list[Wait]:
    """Nothing when it is Ready."""
    subject, status = f"pod/{meta.name(pod)}", pod.get("status") or {}
    if meta.is_terminating(pod):
        return [_ending(pod, around)]
    if status.get("phase") in ("Failed", "Succeeded"):
        text = f"{meta.name(pod)} has ended: {status['phase']} {status.get('reason') or ''} {status.get('message') or ''}".strip()
        logs = f"See what it said: kubectl logs {meta.name(pod)} -n {meta.namespace(pod)} --all-containers"
        return [Wait(subject, str(status.get("reason") or status["phase"]), text, "", logs)]
    if not pod["spec"].get("nodeName"):
        return _unscheduled(pod, around)
    lost = _lost_node(pod, around)
    if lost is not None:
        return [lost]
    if meta.condition_true(pod, "Ready"):
        return []
    found = [w for name in claims_of(pod).values() for w in _claim_by_name(pod, name, around)]
    found += _containers(pod, around)
    return found or [_gates_or_start(pod, around)]


def _begun_ending(obj: Obj) -> str:
    """When its deletion was asked for: the timestamp is the end of the time it has."""
    grace = obj["metadata"].get("deletionGracePeriodSeconds") or 0
    return rfc3339(parse_rfc3339(obj["metadata"]["deletionTimestamp"]) - grace)


def _ending(pod: Obj, around: Around) -> Wait:
    subject, name, where = f"pod/{meta.name(pod)}", meta.name(pod), f"-n {meta.namespace(pod)}"
    since, node = _begun_ending(pod), pod["spec"].get("nodeName")
    lost = _lost_node(pod, around)
    if lost is not None:
        text = f"{name} is terminating, and nobody can say whether it has ended: {lost.message}"
        force = f"Make sure that node {node} is off, then: kubectl delete pod {name} {where} --grace-period=0 --force"
        return Wait(subject, "TerminatingNodeLost", text, since, force)
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    running = [c["name"] for c in statuses if (c.get("state") or {}).get("running")]
    if running:
        limit = pod["metadata"].get("deletionGracePeriodSeconds")
        text = f"{name} is terminating: container {', '.join(running)} still runs; it has {limit} seconds to end"
        return Wait(
            subject, "TerminatingContainers", text, since, f"Wait for it to end; see what keeps it: kubectl logs {name} {where}"
        )
    finalizers = pod["metadata"].get("finalizers") or []
    if finalizers:
        text = f"{name} is terminating: its containers have ended, finalizer {', '.join(finalizers)} holds it"
        return Wait(subject, "TerminatingFinalizers", text, since, "See to it that whoever set the finalizer removes it")
    return Wait(subject, "Terminating", f"{name} is terminating: node {node} is cleaning up", since, "Wait for the node to finish")


def _lost_node(pod: Obj, around: Around) -> Wait | None:
    name = pod["spec"].get("nodeName")
    if not name or around.nodes is None:
        return None
    node = around.nodes.get(name)
    subject, where = f"pod/{meta.name(pod)}", f"-n {meta.namespace(pod)}"
    if node is None:
        force = f"If the machine is gone for good: kubectl delete pod {meta.name(pod)} {where} --grace-period=0 --force"
        return Wait(subject, "NodeGone", f"node {name}, where {meta.name(pod)} ran, is no longer registered", "", force)
    ready = meta.condition(node, "Ready") or {}
    if ready.get("status") == "True":
        return None
    text = f"node {name}, where {meta.name(pod)} runs, is not Ready: {ready.get('message') or 'it has not reported yet'}"
    remedy = f"Bring node {name} back; if the machine is off for good: kubectl delete node {name}"
    return Wait(subject, "NodeNotReady", text, str(ready.get("lastTransitionTime") or ""), remedy)


def _unscheduled(pod: Obj, around: Around) -> list[Wait]:
    subject, name = f"pod/{meta.name(pod)}", meta.name(pod)
    created = str(pod["metadata"].get("creationTimestamp") or "")
    gates = ", ".join(gate["name"] for gate in pod["spec"].get("schedulingGates") or [])
    if gates:
        return [Wait(subject, "SchedulingGated", f"{name} is held back by scheduling gate {gates}", created, "Remove the gate")]
    found = [w for claim in claims_of(pod).values() for w in _claim_by_name(pod, claim, around) if w.reason != WAITS]
    scheduled = meta.condition(pod, "PodScheduled") or {}
    if scheduled.get("status") == "False":
        said = str(scheduled.get("message") or "the scheduler gives no reason").rstrip(".")
        text = f"{name} fits on no node: {said}"
        remedy = f"Free or add what it asks for, or ask for less; see: kubectl describe pod {name} -n {meta.namespace(pod)}"
        cordoned = sorted(n for n, node in (around.nodes or {}).items() if (node.get("spec") or {}).get("unschedulable"))
        if cordoned:
            remedy = f"Let pods onto {cordoned[0]} again: kubectl uncordon {cordoned[0]}; or: {remedy[0].lower()}{remedy[1:]}"
        return [*found, Wait(subject, "Unschedulable", text, str(scheduled.get("lastTransitionTime") or created), remedy)]
    scheduler = pod["spec"].get("schedulerName") or "default-scheduler"
    text = f"{name} has not been given to a node yet by scheduler {scheduler}"
    return found or [Wait(subject, "NotScheduled", text, created, f"Wait; see that scheduler {scheduler} runs if this lasts")]


def _claim_by_name(pod: Obj, name: str, around: Around) -> list[Wait]:
    claim = around.claims.get(name)
    if claim is None:
        text = f"{meta.name(pod)} needs claim {name}, which does not exist"
        return [Wait(f"pvc/{name}", "ClaimMissing", text, "", f"Create claim {name} in namespace {meta.namespace(pod)}")]
    return [] if meta.is_terminating(claim) and _phase(claim) == "Bound" else of_claim(claim, around)


# Containers


def _containers(pod: Obj, around: Around) -> list[Wait]:
    status = pod.get("status") or {}
    for one in status.get("initContainerStatuses") or []:
        sidecar = any(c["name"] == one["name"] and c.get("restartPolicy") == "Always" for c in pod["spec"].get("initContainers") or [])
        done = one.get("started") if sidecar else ((one.get("state") or {}).get("terminated") or {}).get("exitCode") == 0
        if not done:
            return [_container(pod, one, "init container", around)]
    late = [one for one in status.get("containerStatuses") or [] if not one.get("ready")]
    return [_container(pod, one, "container", around) for one in late]


def _container(pod: Obj, one: Obj, kind: str, around: Around) -> Wait:
    subject, name, where = f"pod/{meta.name(pod)}", one["name"], f"-n {meta.namespace(pod)}"
    state: Obj = one.get("state") or {}
    logs = f"kubectl logs {meta.name(pod)} {where} -c {name}"
    if ended := state.get("terminated"):
        text = f"{kind} {name} has ended: {_exit(ended)}"
        return Wait(subject, str(ended.get("reason") or "Terminated"), text, str(ended.get("finishedAt") or ""), f"See why: {logs}")
    if running := state.get("running"):
        return _running(pod, one, kind, str(running.get("startedAt") or ""), around)
    waiting: Obj = state.get("waiting") or {}
    reason = str(waiting.get("reason") or "ContainerCreating")
    since = _since_started(pod)
    if reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
        said = str(waiting.get("message") or "") or around.last_event(pod, "Failed", "ImageNotPulled")
        text = f"{kind} {name} has no image {one.get('image')}: {reason}: {said}"
        return Wait(subject, reason, text, since, "Correct the image in the template, or make it available to the node")
    last = (one.get("lastState") or {}).get("terminated")
    if reason == "CrashLoopBackOff" or last:
        count = int(one.get("restartCount") or 0)
        end = f"it ended {count} times, last with {_exit(last)}" if last else "it ends again and again"
        if last and count <= 1:
            end = f"it ended with {_exit(last)}"
        since = str((last or {}).get("finishedAt") or since)
        return Wait(subject, reason, f"{kind} {name} crashes: {end}", since, f"See its last words: {logs} --previous")
    said = str(waiting.get("message") or "") or around.last_event(pod)
    text = f"{kind} {name} is not started yet: {reason}{_comma(said)}"
    return Wait(subject, reason, text, since, f"See what the node says: kubectl describe pod {meta.name(pod)} {where}")


def _running(pod: Obj, one: Obj, kind: str, started: str, around: Around) -> Wait:
    subject, name = f"pod/{meta.name(pod)}", one["name"]
    everything = [*(pod["spec"].get("initContainers") or []), *(pod["spec"].get("containers") or [])]
    spec: Obj = next((c for c in everything if c["name"] == name), {})
    logs = f"kubectl logs {meta.name(pod)} -n {meta.namespace(pod)} -c {name}"
    if kind == "init container" and spec.get("restartPolicy") != "Always":
        return Wait(subject, "PodInitializing", f"init container {name} is still running", started, f"See how far it is: {logs}")
    if not spec.get("startupProbe") and not spec.get("readinessProbe"):
        return Wait(subject, "Starting", f"{kind} {name} has just started", started, f"Wait; see what it does: {logs}")
    probe = "startup" if spec.get("startupProbe") and not one.get("started") else "readiness"
    said = around.last_event(pod, "Unhealthy")
    text = f"{kind} {name} runs, but its {probe} probe does not pass{_comma(said)}"
    shown = _shown(spec.get(f"{probe}Probe") or {})
    return Wait(subject, f"{probe.capitalize()}ProbeFails", text, started, f"See what it does: {logs}; the probe is {shown}")


def _shown(probe: Obj) -> str:
    if get := probe.get("httpGet"):
        return f"GET {get.get('path') or '/'} at port {get.get('port')}"
    if socket := probe.get("tcpSocket"):
        return f"a connection to port {socket.get('port')}"
    if call := probe.get("grpc"):
        return f"gRPC health at port {call.get('port')}"
    command = (probe.get("exec") or {}).get("command")
    return " ".join(command) if command else "not declared"


def _exit(ended: Obj) -> str:
    code = f"exit code {ended.get('exitCode')}"
    said = " ".join(str(ended[key]).strip() for key in ("reason", "message") if ended.get(key))
    return f"{code} ({said})" if said else code


def _since_started(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("startTime") or pod["metadata"].get("creationTimestamp") or "")


def _gates_or_start(pod: Obj, around: Around) -> Wait:
    subject = f"pod/{meta.name(pod)}"
    ready = meta.condition(pod, "Ready") or {}
    if ready.get("reason") == "ReadinessGatesNotReady":
        text = f"a readiness gate of {meta.name(pod)} is closed: {ready.get('message')}"
        remedy = "See to it that whoever owns the gate's condition sets it"
        return Wait(subject, "ReadinessGatesNotReady", text, str(ready.get("lastTransitionTime") or ""), remedy)
    said = around.last_event(pod)
    text = f"node {pod['spec'].get('nodeName')} has not started {meta.name(pod)} yet{_comma(said)}"
    see = f"Wait; see what the node says: kubectl describe pod {meta.name(pod)} -n {meta.namespace(pod)}"
    return Wait(subject, "NotStarted", text, _since_started(pod), see)


# Claims


def _phase(claim: Obj) -> str:
    return str((claim.get("status") or {}).get("phase") or "Pending")


def of_claim(claim: Obj, around: Around) -> list[Wait]:
    """Nothing when it is Bound and has what it asks for."""
    name, where = meta.name(claim), f"-n {meta.namespace(claim)}"
    subject, created = f"pvc/{name}", str(claim["metadata"].get("creationTimestamp") or "")
    if meta.is_terminating(claim):
        users = [user for user in _users(claim, around) if objects.phase(around.pods[user]) not in ("Failed", "Succeeded")]
        finalizers = ", ".join(claim["metadata"].get("finalizers") or ["nothing"])
        held = f"pod {', '.join(users)} uses it" if users else f"held by {finalizers}"
        remedy = f"It goes with the pod: kubectl delete pod {users[0]} {where}" if users else "Wait for its finalizers to be removed"
        return [Wait(subject, "ClaimTerminating", f"claim {name} is being deleted: {held}", _begun_ending(claim), remedy)]
    if _phase(claim) == "Bound":
        return _growing(claim, around)
    if _phase(claim) == "Lost":
        text = f"claim {name} has lost its volume {claim['spec'].get('volumeName')}"
        remedy = "Restore the data from a backup; the set makes the claim anew once it and its pod are deleted"
        return [Wait(subject, "ClaimLost", text, "", remedy)]
    if claim["spec"].get("volumeName"):
        return [_named_volume(claim, around, created)]
    return [_provisioning(claim, around, created)]


def _growing(claim: Obj, around: Around) -> list[Wait]:
    """A growth that has not come to its end: refused, or waiting for a pod that mounts the volume."""
    subject, where = f"pvc/{meta.name(claim)}", f"-n {meta.namespace(claim)}"
    has = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    for kind in (growth.CONTROLLER_ERROR, growth.NODE_ERROR):
        found = meta.condition(claim, kind)
        if found is not None:
            text = f"claim {meta.name(claim)} has {has} and does not get what it asks for: {found.get('message')}"
            remedy = f"Make room, or ask for less, but for more than {has}: kubectl edit {subject} {where}"
            return [Wait(subject, kind, text, str(found.get("lastTransitionTime") or ""), remedy)]
    found = meta.condition(claim, growth.FS_PENDING)
    if found is None:
        return []
    users = _users(claim, around)
    text = f"claim {meta.name(claim)} has a larger volume, and {has} of it until a node lets its file system grow"
    remedy = f"Wait for the node of {users[0]}" if users else "Start a pod that uses it"
    return [Wait(subject, growth.FS_PENDING, text, str(found.get("lastTransitionTime") or ""), remedy)]


def _users(claim: Obj, around: Around) -> list[str]:
    return sorted(meta.name(pod) for pod in around.pods.values() if meta.name(claim) in claims_of(pod).values())


def _named_volume(claim: Obj, around: Around, created: str) -> Wait:
    name, wanted = meta.name(claim), claim["spec"]["volumeName"]
    volume: Obj | None = {"spec": {}} if around.volumes is None else around.volumes.get(wanted)
    if volume is None:
        text = f"claim {name} names volume {wanted}, which does not exist"
        return Wait(f"pvc/{name}", "VolumeMissing", text, created, f"Create PersistentVolume {wanted}")
    reference = volume["spec"].get("claimRef") or {}
    holder = f"{reference.get('namespace')}/{reference.get('name')}"
    if reference and reference.get("uid") not in (None, "", meta.uid(claim)):
        same = holder == f"{meta.namespace(claim)}/{name}"
        whose = f"a former claim {name}" if same else f"claim {holder}"
        text = f"claim {name} names volume {wanted}, which belongs to {whose}"
        remedy = f'If its data may be used: kubectl patch pv {wanted} --type=merge -p \'{{"spec":{{"claimRef":null}}}}\''
        return Wait(f"pvc/{name}", "VolumeTaken", text, created, remedy)
    text = f"claim {name} and volume {wanted} are not bound yet"
    remedy = "Compare their size, access modes, volume mode and class: kubectl describe pv " + wanted
    return Wait(f"pvc/{name}", "NotBound", text, created, remedy)


def _provisioning(claim: Obj, around: Around, created: str) -> Wait:
    name, subject = meta.name(claim), f"pvc/{meta.name(claim)}"
    wanted = class_of(claim)
    if wanted and around.classes is None:
        text = f"claim {name} waits for a volume of storage class {wanted}{_comma(around.last_event(claim))}"
        return Wait(
            subject, "NotBound", text, created, f"See what is said about it: kubectl describe {subject} -n {meta.namespace(claim)}"
        )
    classes = around.classes or {}
    found = classes.get(wanted)
    annotations = meta.annotations_of(claim)
    if not wanted:
        defaults = [n for n, c in classes.items() if is_default(c)]
        why = "asks for no storage class" if defaults else "names no storage class, and there is no default one"
        text = f"claim {name} {why}: it waits for a volume made by hand that fits"
        return Wait(subject, "NoClass", text, created, "Create a PersistentVolume that fits; or name a class in the claim (template)")
    if found is None:
        text = f'claim {name} asks for storage class "{wanted}", which does not exist'
        return Wait(subject, "ClassMissing", text, created, f"Create StorageClass {wanted}, or correct the claim (template)")
    if found.get("volumeBindingMode") == WAITS and SELECTED_NODE not in annotations:
        user = next(iter(_users(claim, around)), "")
        text = f"claim {name} gets its volume once a pod that uses it has a node; {user or 'no pod'} uses it"
        remedy = f"See what that waits for: holdfast why pod/{user} -n {meta.namespace(claim)}" if user else "Create a pod that uses it"
        return Wait(subject, WAITS, text, created, remedy)
    if found["provisioner"] == NO_PROVISIONER:
        text = f"claim {name} waits for a PersistentVolume of class {wanted} that fits; that class makes none by itself"
        return Wait(subject, "NoVolumeFits", text, created, f"Create a PersistentVolume with storageClassName {wanted}")
    said = around.last_event(claim)
    text = f"claim {name} waits for provisioner {found['provisioner']} to make its volume{_comma(said)}"
    asked = any(key in annotations for key in PROVISIONERS)
    if said:
        remedy = "Mend what it says: it tries again by itself; or delete the claim and ask for something else"
        return Wait(subject, "ProvisioningFailed", text, created, remedy)
    remedy = f"See that provisioner {found['provisioner']} runs" if asked else "Wait for the volume controller to ask for it"
    return Wait(subject, "Provisioning", text, created, remedy)
