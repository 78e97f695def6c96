"""Deployments of the lab: one to begin with, and what rest is for those that are there."""

from __future__ import annotations

from typing import Any

from holdfast.controllers import pods as state
from holdfast.controllers.deployment import objects
from holdfast.controllers.replicaset.decide import replicas
from holdfast.kinds.kind import Obj
from holdfast.lab.judge import POD, Judge
from holdfast.machinery import meta

DEPLOYMENT, REPLICA_SET = "/registry/deployments/", "/registry/replicasets/"


def a_deployment(template: Obj, wanted: int = 3, **spec: Any) -> Obj:
    """``template`` with labels of its own: no set's Service leads to its pods."""
    labels = {"app": "shop"}
    given = {"replicas": wanted, "selector": {"matchLabels": labels}, "template": {**template, "metadata": {"labels": labels}}, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": given}


def kept(judge: Judge) -> set[str]:
    """Names of the pods that ReplicaSets keep."""
    uids = {meta.uid(found) for found in judge.objects(REPLICA_SET)}
    return {meta.name(pod) for pod in judge.objects(POD) if (meta.controller_of(pod) or {}).get("uid") in uids}


def unlike(judge: Judge) -> str:
    """What is not as a Deployment asks for it; "" when all is."""
    owners = {meta.uid(owner): owner for owner in judge.objects(DEPLOYMENT)}
    for found in judge.objects(REPLICA_SET):
        if (meta.controller_of(found) or {}).get("uid") not in owners:
            return f"ReplicaSet {meta.name(found)} is nobody's"
    for owner in owners.values():
        if why := _unlike(judge, owner):
            return f"Deployment {meta.name(owner)}: {why}"
    return ""


def _unlike(judge: Judge, owner: Obj) -> str:
    sets = [found for found in judge.objects(REPLICA_SET) if meta.is_controlled_by(found, owner)]
    new = objects.newest(owner, sets)
    if meta.is_terminating(owner) or new is None:
        return "it is being deleted" if new is not None else "its template has no ReplicaSet"
    sizes = {meta.name(found): replicas(found) for found in sets if replicas(found)}
    if sizes != ({meta.name(new): replicas(owner)} if replicas(owner) else {}):
        return f"ReplicaSets of {sizes}, {replicas(owner)} of {meta.name(new)} are wanted"
    for found in sets:
        there = [pod for pod in judge.objects(POD) if meta.is_controlled_by(pod, found)]
        if len(there) != replicas(found) or not all(state.is_active(pod) and state.is_ready(pod) for pod in there):
            return f"pods {sorted(map(meta.name, there))}, {replicas(found)} Ready ones of {meta.name(found)} are wanted"
    status = owner.get("status") or {}
    counted = {name: status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    if set(counted.values()) != {replicas(owner)} or status.get("observedGeneration") != owner["metadata"]["generation"]:
        return f"its status is {status}"
    numbers = [meta.annotations_of(each).get(objects.REVISION) for each in (owner, new)]
    return "" if numbers[0] == numbers[1] else f"it is at revision {numbers[0]}, its ReplicaSet at {numbers[1]}"
