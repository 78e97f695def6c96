"""The ReplicaSets of a Deployment: how they are named, built, numbered, recognised. Pure.

A ReplicaSet is the new one because its template says what the Deployment's says, not because of its hash: the hash is only a
name, and a version that computes it in another way rolls nothing.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from holdfast.controllers.replicaset.decide import replicas
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, names, quantity

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_OWN = {
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
}
"""Annotations of a Deployment that are not its ReplicaSets'."""
_HISTORY_LIMIT = 2000
_NAME_LIMIT = 253
_AMOUNTS = ("limits", "requests")


# Templates


def _normal(value: Any, *, amounts: bool = False) -> Any:
    """What a template says, however it is spelt: without nulls and empty lists, quantities by their value."""
    if isinstance(value, dict):
        kept = {key: _normal(inner, amounts=key in _AMOUNTS) for key, inner in value.items() if inner not in (None, [])}
        return {key: _amount(inner) for key, inner in kept.items()} if amounts else kept
    return [_normal(item) for item in value] if isinstance(value, list) else value


def _amount(value: Any) -> Any:
    return quantity.parse(value) if isinstance(value, str | int) else value


def _without_hash(template: Obj) -> Obj:
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.pop("labels", None) or {}).items() if key != HASH}
    annotations = metadata.pop("annotations", None) or {}
    return {**template, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


def same_template(one: Obj, other: Obj) -> bool:
    return bool(_normal(_without_hash(one)) == _normal(_without_hash(other)))


def hash_of(template: Obj, collisions: int | None) -> str:
    data = json.dumps(_bare(template), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    # The count follows as upstream writes it: eight bytes, and none while nothing has ever collided.
    more = struct.pack("<Q", collisions) if collisions is not None else b""
    return names.safe_encode(str(names.fnv32a(data + more)))


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items() if inner is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value


# ReplicaSets


def build(owner: Obj) -> Obj:
    """The ReplicaSet of the Deployment's template, with nothing in it yet."""
    template: Obj = copy.deepcopy(owner["spec"]["template"])
    digest = hash_of(template, (owner.get("status") or {}).get("collisionCount"))
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), HASH: digest}
    selector = copy.deepcopy(owner["spec"]["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: digest}
    spec: Obj = {"replicas": 0, "selector": selector, "template": template}
    if owner["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = owner["spec"]["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta.name(owner)[: _NAME_LIMIT - len(digest) - 1]}-{digest}",
            "namespace": meta.namespace(owner),
            "labels": dict(metadata["labels"]),
            "ownerReferences": [meta.owner_reference(owner)],
        },
        "spec": spec,
    }


def by_age(sets: Iterable[Obj]) -> list[Obj]:
    return sorted(sets, key=lambda s: (s["metadata"].get("creationTimestamp") or "", meta.name(s)))


def newest(owner: Obj, sets: Iterable[Obj]) -> Obj | None:
    """The ReplicaSet that has the Deployment's template; of several the oldest."""
    return next((s for s in by_age(sets) if same_template(s["spec"]["template"], owner["spec"]["template"])), None)


def active(sets: Iterable[Obj]) -> list[Obj]:
    """Those of which there shall be pods."""
    return [each for each in sets if replicas(each) > 0]


def count(found: Obj, field: str) -> int:
    return int((found.get("status") or {}).get(field) or 0)


def total(sets: Iterable[Obj], field: str) -> int:
    """Of all their statuses."""
    return sum(count(each, field) for each in sets)


# Annotations


def number(found: Obj) -> int | None:
    """Its revision; 0 when it has none, None when it is no number."""
    return _number(meta.annotations_of(found).get(REVISION) or "0")


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def revision_after(sets: Iterable[Obj]) -> int:
    return max((number(each) or 0 for each in sets), default=0) + 1


def sized(found: Obj, wanted: int, desired: int, maximum: int) -> Obj:
    """The ReplicaSet with so many replicas, for a Deployment that wants ``desired`` and has ``maximum`` at most."""
    annotations = {**meta.annotations_of(found), DESIRED: str(desired), MAXIMUM: str(maximum)}
    return {
        **found,
        "metadata": {**found["metadata"], "annotations": annotations},
        "spec": {**found["spec"], "replicas": wanted},
    }


def desired(found: Obj) -> int | None:
    """How many replicas the Deployment wanted when this ReplicaSet was sized."""
    text = meta.annotations_of(found).get(DESIRED)
    return None if text is None else _number(text)


def maximum(found: Obj) -> int:
    """How many there might be at most then; 0 when it does not say."""
    return _number(meta.annotations_of(found).get(MAXIMUM) or "0") or 0


def following(owner: Obj, found: Obj, revision: int) -> Obj:
    """The new ReplicaSet with what it takes over from its Deployment: annotations, its number, minReadySeconds."""
    annotations = {**meta.annotations_of(found), **{k: v for k, v in meta.annotations_of(owner).items() if k not in _OWN}}
    before = number(found)
    if before is not None and before < revision:
        if REVISION in annotations:
            annotations[HISTORY] = _longer(annotations.get(HISTORY) or "", annotations[REVISION])
        annotations[REVISION] = str(revision)
    spec = dict(found["spec"])
    if (owner["spec"].get("minReadySeconds") or 0) != (spec.get("minReadySeconds") or 0):
        spec["minReadySeconds"] = owner["spec"].get("minReadySeconds") or 0
    if annotations == meta.annotations_of(found) and spec == found["spec"]:
        return found
    return {**found, "metadata": {**found["metadata"], "annotations": annotations}, "spec": spec}


def _longer(history: str, revision: str) -> str:
    """The numbers it had, the oldest left out when they become too many."""
    numbers = [*filter(None, history.split(",")), revision]
    while len(",".join(numbers)) > _HISTORY_LIMIT:
        numbers.pop(0)
    return ",".join(numbers)


def outdated(owner: Obj, old: Sequence[Obj]) -> list[Obj]:
    """Old ReplicaSets beyond the history limit that nothing is left of, the oldest first."""
    limit = owner["spec"].get("revisionHistoryLimit")
    if limit is None or limit == 2**31 - 1:
        return []
    alive = [each for each in by_age(old) if not meta.is_terminating(each)]
    beyond = sorted(alive, key=lambda each: number(each) or 0)[: max(len(alive) - limit, 0)]
    return [each for each in beyond if not replicas(each) and not count(each, "replicas") and _is_seen(each)]


def _is_seen(found: Obj) -> bool:
    return int(found["metadata"].get("generation") or 0) <= count(found, "observedGeneration")
