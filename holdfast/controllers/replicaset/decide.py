"""How many pods a set lacks, or which it has too many. Pure. (Upstream's manageReplicas.)"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.controllers import pods as state
from holdfast.controllers.replicaset.ranking import first_to_go
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, names

BURST = 500
"""No more pods are made or deleted in one pass."""


@dataclass(frozen=True)
class Plan:
    """``create`` so many, or ``delete`` these, which are in the order of their worth."""

    create: int = 0
    delete: tuple[Obj, ...] = ()


def replicas(owner: Obj) -> int:
    wanted = owner["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def surplus(owner: Obj, pods: Sequence[Obj]) -> int:
    """How many active pods there are more than wanted; negative when some are missing."""
    return sum(map(state.is_active, pods)) - replicas(owner)


def decide(owner: Obj, pods: Sequence[Obj], near: Mapping[str, int], now: float) -> Plan:
    """``pods``: those of the set. ``near``: by node, how many active pods of it and of its siblings are there."""
    if meta.is_terminating(owner):
        return Plan()
    excess = surplus(owner, pods)
    if excess <= 0:
        return Plan(create=min(-excess, BURST))
    active = filter(state.is_active, pods)
    return Plan(delete=tuple(first_to_go(active, near, now)[: min(excess, BURST)]))


def build_pod(owner: Obj, name: str = "") -> Obj:
    """A pod of the set's template; without ``name`` it gets one like those the API server generates."""
    template = owner["spec"]["template"]
    given: Obj = template.get("metadata") or {}
    prefix = f"{meta.name(owner)}-"
    metadata: Obj = {
        "name": name or names.generate_name(prefix),
        "generateName": prefix,
        "namespace": meta.namespace(owner),
        "ownerReferences": [meta.owner_reference(owner)],
    }
    for field in ("labels", "annotations", "finalizers"):
        if given.get(field):
            metadata[field] = copy.deepcopy(given[field])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}
