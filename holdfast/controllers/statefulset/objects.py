"""Pods and claims of a set: how they are named, built, recognised. Pure. (features: pod made from ordinal i.)"""

from __future__ import annotations

import re
from typing import Any

from holdfast.controllers.pods import phase as phase
from holdfast.controllers.pods import ready_for as ready_for
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta
from holdfast.machinery.tree import copied

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
REVISION = "controller-revision-hash"
_MEMBER = re.compile(r"(.*)-([0-9]+)$")
_LARGEST = 2**31 - 1
_STARTING = {"", "ContainerCreating", "PodInitializing"}


def ordinal(pod: Obj) -> int:
    """The pod's ordinal; -1 when its name has none that fits an int32."""
    match = _MEMBER.match(meta.name(pod))
    return int(match[2]) if match and int(match[2]) <= _LARGEST else -1


def is_member(owner: Obj, pod: Obj) -> bool:
    """Only the very name an ordinal gives: ``web-01`` would otherwise stand in for ``web-1``."""
    return meta.name(pod) == pod_name(owner, ordinal(pod))


def first_ordinal(owner: Obj) -> int:
    return int((owner["spec"].get("ordinals") or {}).get("start") or 0)


def replicas(owner: Obj) -> int:
    return int(owner["spec"].get("replicas", 1))


def at_most(bound: int | str, total: int) -> int:
    """maxUnavailable as a number: a share is rounded down, but is one at least."""
    if isinstance(bound, str):
        return max(total * int(bound.removesuffix("%")) // 100, 1)
    return max(bound, 1)


def pod_name(owner: Obj, number: int) -> str:
    return f"{meta.name(owner)}-{number}"


def claim_name(owner: Obj, template: Obj, number: int) -> str:
    return f"{template['metadata']['name']}-{meta.name(owner)}-{number}"


def build_pod(owner: Obj, template: Obj, revision: str, number: int) -> Obj:
    """The pod of an ordinal, from the template of a revision."""
    name = pod_name(owner, number)
    given: Obj = template.get("metadata") or {}
    spec: Obj = copied(template["spec"])
    spec["hostname"] = name
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    metadata: Obj = {
        "name": name,
        "generateName": f"{meta.name(owner)}-",
        "namespace": meta.namespace(owner),
        "labels": {**(given.get("labels") or {}), POD_NAME: name, POD_INDEX: str(number), REVISION: revision},
        "ownerReferences": [meta.owner_reference(owner)],
    }
    for field in ("annotations", "finalizers"):
        if given.get(field):
            metadata[field] = copied(given[field])
    spec["volumes"] = _volumes(owner, spec.get("volumes") or [], number)
    if not spec["volumes"]:
        del spec["volumes"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _volumes(owner: Obj, declared: list[Obj], number: int) -> list[Obj]:
    """Claim templates take precedence over the template's volumes of the same name."""
    templates = owner["spec"].get("volumeClaimTemplates") or []
    claimed = [{"name": t["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim_name(owner, t, number)}} for t in templates]
    names = {volume["name"] for volume in claimed}
    return claimed + [volume for volume in declared if volume["name"] not in names]


def claim_names(owner: Obj, number: int) -> list[str]:
    return [claim_name(owner, template, number) for template in owner["spec"].get("volumeClaimTemplates") or []]


def build_claims(owner: Obj, number: int) -> list[Obj]:
    """The claims of an ordinal: the template's, labelled with the set's selector too."""
    labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
    found = []
    for template in owner["spec"].get("volumeClaimTemplates") or []:
        given: Obj = template.get("metadata") or {}
        metadata: Obj = {"name": claim_name(owner, template, number), "namespace": meta.namespace(owner)}
        merged = {**(given.get("labels") or {}), **labels}
        if merged:
            metadata["labels"] = merged
        if given.get("annotations"):
            metadata["annotations"] = dict(given["annotations"])
        found.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": copied(template["spec"])})
    return found


def repaired(pod: Obj) -> Obj | None:
    """The pod with its identity labels as they must be; None when nothing is wrong with them."""
    wanted = {POD_NAME: meta.name(pod), POD_INDEX: str(ordinal(pod))}
    labels = meta.labels_of(pod)
    if all(labels.get(key) == value for key, value in wanted.items()):
        return None
    return {"metadata": {"labels": wanted}}


# States


def is_created(pod: Obj | None) -> bool:
    return pod is not None and bool((pod.get("status") or {}).get("phase"))


def is_ready(pod: Obj) -> bool:
    return phase(pod) == "Running" and meta.condition_true(pod, "Ready")


def never_ready(pod: Obj) -> bool:
    """Whether its Ready condition has been what it is since the pod was started: in the same second, the API knows no finer."""
    found: Any = meta.condition(pod, "Ready")
    started = (pod.get("status") or {}).get("startTime")
    if found is None or found.get("status") == "True":
        return found is None
    stamp = found.get("lastTransitionTime")
    return not stamp or (started is not None and parse_rfc3339(stamp) <= parse_rfc3339(started))


def in_trouble(pod: Obj) -> bool:
    """Whether it shows that something is wrong with it, and not only that it takes its time."""
    state = pod.get("status") or {}
    if (meta.condition(pod, "PodScheduled") or {}).get("reason") == "Unschedulable":
        return True
    containers = [*(state.get("initContainerStatuses") or []), *(state.get("containerStatuses") or [])]
    waiting = {((c.get("state") or {}).get("waiting") or {}).get("reason") or "" for c in containers}
    return bool(waiting - _STARTING) or any(c.get("restartCount") for c in containers)


def is_available(owner: Obj, pod: Obj, now: float) -> bool:
    wanted = int(owner["spec"].get("minReadySeconds") or 0)
    return is_ready(pod) and (wanted == 0 or ready_for(pod, now) >= wanted)


def is_healthy(owner: Obj, pod: Obj, now: float) -> bool:
    return is_available(owner, pod, now) and not meta.is_terminating(pod)


def revision_of(pod: Obj) -> str:
    return meta.labels_of(pod).get(REVISION, "")
