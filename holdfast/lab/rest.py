"""What rest is: everything is as it was asked for, in the store, on the machines and in the names."""

from __future__ import annotations

from holdfast.controllers.statefulset import objects
from holdfast.kinds.kind import Obj
from holdfast.lab import jobs, replicas
from holdfast.lab.judge import CLAIM, POD, REVISION, SET
from holdfast.lab.stage import addresses
from holdfast.lab.world import World
from holdfast.machinery import meta


def unlike(world: World) -> str:
    """What is not as it was asked for; "" when all is."""
    judge = world.judge
    pods = {meta.name(pod): pod for pod in judge.objects(POD) if not jobs.is_of_job(pod)}
    wanted: set[str] = set()
    if why := jobs.unlike(judge):
        return why
    for owner in judge.objects(SET):
        if meta.is_terminating(owner):
            return f"set {meta.name(owner)} is being deleted"
        if why := _unlike_set(owner, pods):
            return why
        first = objects.first_ordinal(owner)
        wanted |= {objects.pod_name(owner, n) for n in range(first, first + objects.replicas(owner))}
    if why := replicas.unlike(judge):
        return why
    if surplus := set(pods) - wanted - replicas.kept(judge):
        return f"pods {sorted(surplus)} are too many"
    living = {(config.namespace, config.pod_name, config.pod_uid) for machine in world.machines.values() for config in machine.living()}
    known = {(meta.namespace(pod), meta.name(pod), meta.uid(pod)) for pod in pods.values()}
    if living != known:
        return f"processes {sorted(living - known)} without a pod, pods {sorted(known - living)} without a process"
    if any(meta.is_terminating(claim) for claim in judge.objects(CLAIM)):
        return "a claim is being deleted"
    for owner in judge.objects(SET):
        if why := _unlike_claims(world, owner) or _unlike_history(world, owner):
            return why
    return _unlike_names(world, {name: pod for name, pod in pods.items() if name in wanted})


def _unlike_set(owner: Obj, pods: dict[str, Obj]) -> str:
    status = owner.get("status") or {}
    first, count = objects.first_ordinal(owner), objects.replicas(owner)
    mine = [pods.get(objects.pod_name(owner, n)) for n in range(first, first + count)]
    for number, pod in enumerate(mine):
        if pod is None or not objects.is_ready(pod) or meta.is_terminating(pod):
            return f"{objects.pod_name(owner, first + number)} is not Ready"
    if status.get("observedGeneration") != owner["metadata"]["generation"]:
        return "the status is of an older generation"
    there = [pod for pod in mine if pod is not None]
    current, update = status.get("currentRevision"), status.get("updateRevision")
    counted = {
        "replicas": count,
        "readyReplicas": count,
        "availableReplicas": count,
        "currentReplicas": sum(objects.revision_of(pod) == current for pod in there),
        "updatedReplicas": sum(objects.revision_of(pod) == update for pod in there),
    }
    for name, number in counted.items():
        if status.get(name, 0) != number:
            return f"status.{name} is {status.get(name, 0)}, there are {number}"
    strategy = owner["spec"].get("updateStrategy") or {}
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    if any(objects.revision_of(pod) not in (current, update) for pod in there[:partition]):
        return "a member below the partition is of no revision that counts"
    if current != update and any(objects.revision_of(pod) != current for pod in there[:partition]):
        return "a member below the partition is updated"
    if strategy.get("type") != "OnDelete" and any(objects.revision_of(pod) != update for pod in there[partition:]):
        return "not all are updated"
    return ""


def _unlike_claims(world: World, owner: Obj) -> str:
    """Each member has its claims; those of members that are too many go only where the policy says so, and there they do go."""
    first, count = objects.first_ordinal(owner), objects.replicas(owner)
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    there = {meta.name(claim) for claim in world.judge.objects(CLAIM)}
    wanted = {meta.name(claim) for n in range(first, first + count) for claim in objects.build_claims(owner, n)}
    if missing := wanted - there:
        return f"claims {sorted(missing)} are missing"
    if policy.get("whenScaled") == "Delete" and (surplus := there - wanted):
        return f"claims {sorted(surplus)} are left of members that are no more"
    return ""


def _unlike_history(world: World, owner: Obj) -> str:
    """P-8: the revision in force is the newest, and no two have one number."""
    mine = [r for r in world.judge.objects(REVISION) if meta.is_controlled_by(r, owner)]
    numbers = sorted(r["revision"] for r in mine)
    newest = [meta.name(r) for r in mine if r["revision"] == numbers[-1]]
    update = (owner.get("status") or {}).get("updateRevision")
    right = newest == [update] and len({*numbers}) == len(numbers)
    return "" if right else f"revisions {numbers}: {newest} is newest, {update} in force"


def _unlike_names(world: World, pods: dict[str, Obj]) -> str:
    """P-18: each member has its address under its name."""
    found = {name: addresses(world, name) for name in pods}
    for name, pod in pods.items():
        if found[name] != [pod["status"].get("podIP")]:
            return f"{name} is found at {found[name]}, and is at {pod['status'].get('podIP')}"
    return ""
