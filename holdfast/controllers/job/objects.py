"""Pods of a job: how they are named, built and read. Pure.

A pod's name is derived from the job, its index and how many pods have ended: a create whose answer was lost asks for the
same name again, and is told so.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection

from holdfast.controllers.pods import has_ended
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta, selectors
from holdfast.machinery.names import ALPHABET

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
WITHOUT_FINALIZER = {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}
"""In the metadata of a strategic patch: no other finalizer is touched."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
MANAGER = "kubernetes.io/job-controller"
LONGEST_BASE, RANDOM = 58, 5
UNKNOWN = -1


# The job


def is_finished(job: Obj) -> bool:
    return meta.condition_true(job, "Complete") or meta.condition_true(job, "Failed")


def is_ours(job: Obj) -> bool:
    """Whether no other controller is named to manage it."""
    return job["spec"].get("managedBy") in (None, MANAGER)


def selector(job: Obj) -> selectors.LabelSelector:
    return selectors.from_object(job["spec"].get("selector"))


def is_indexed(job: Obj) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def is_suspended(job: Obj) -> bool:
    return bool(job["spec"].get("suspend"))


def only_failed_are_replaced(job: Obj) -> bool:
    return job["spec"].get("podReplacementPolicy") == "Failed" or job["spec"].get("podFailurePolicy") is not None


# States of a pod


def is_leaving(pod: Obj) -> bool:
    return not has_ended(pod) and meta.is_terminating(pod)


def is_tracked(pod: Obj) -> bool:
    """It is not known to be counted yet."""
    return FINALIZER in (pod["metadata"].get("finalizers") or [])


def _number(pod: Obj, annotation: str, otherwise: int) -> int:
    """Anybody may write an annotation: what is no number, or a very long one, says nothing."""
    text = meta.annotations_of(pod).get(annotation, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 11 else otherwise


def index_of(pod: Obj) -> int:
    return _number(pod, INDEX, UNKNOWN)


def failures_before(pod: Obj) -> tuple[int, int]:
    """How often its index had failed when it was made: counted, and ignored."""
    return _number(pod, FAILURES, 0), _number(pod, IGNORED, 0)


def restarts(pod: Obj) -> int:
    status = pod.get("status") or {}
    each = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return sum(int(container.get("restartCount") or 0) for container in each)


def finished_at(pod: Obj) -> float:
    """Unix seconds: of its last container's end; failing that since when it is not Ready, is being deleted, or exists."""
    status = pod.get("status") or {}
    lasting = {c["name"] for c in pod["spec"].get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    counted = [*(status.get("containerStatuses") or [])]
    counted += [c for c in status.get("initContainerStatuses") or [] if c["name"] in lasting]
    ends = [str(((c.get("state") or {}).get("terminated") or {}).get("finishedAt") or "") for c in counted]
    if ends and all(ends):
        return max(parse_rfc3339(end) for end in ends)
    ready = meta.condition(pod, "Ready") or {}
    if ready.get("status") == "False" and ready.get("lastTransitionTime"):
        return parse_rfc3339(ready["lastTransitionTime"])
    metadata = pod["metadata"]
    if meta.is_terminating(pod):
        return parse_rfc3339(metadata["deletionTimestamp"]) - int(metadata.get("deletionGracePeriodSeconds") or 0)
    return parse_rfc3339(metadata["creationTimestamp"])


# Building


def base_name(job: Obj, index: int) -> str:
    """What its generated part is put behind."""
    if index == UNKNOWN:
        return f"{meta.name(job)}-"[:LONGEST_BASE]
    end = f"-{index}-"
    return meta.name(job)[: LONGEST_BASE - len(end)] + end


def free_name(job: Obj, index: int, since: str, ended: int, taken: Collection[str]) -> str:
    """``since``: when the job was started; ``ended``: how many pods of it have ended. The first name not in ``taken``."""
    while True:
        digest = hashlib.sha256(f"{meta.uid(job)}/{since}/{index}/{ended}".encode()).digest()
        name = base_name(job, index) + "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:RANDOM])
        if name not in taken:
            return name
        ended += 1


def build_pod(job: Obj, name: str, index: int, failures: tuple[int, int] | None) -> Obj:
    """``index`` UNKNOWN: of a job without indexes. ``failures``: of its index so far, where they are limited by index."""
    template = job["spec"]["template"]
    given: Obj = template.get("metadata") or {}
    spec: Obj = copy.deepcopy(template["spec"])
    labels, annotations = dict(given.get("labels") or {}), dict(given.get("annotations") or {})
    if index != UNKNOWN:
        labels[INDEX] = annotations[INDEX] = str(index)
        spec["hostname"] = f"{meta.name(job)}-{index}"
        for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
            _tell_index(container)
    if failures is not None:
        annotations[FAILURES] = str(failures[0])
        annotations |= {IGNORED: str(failures[1])} if failures[1] else {}
    finalizers = [*(given.get("finalizers") or [])]
    metadata: Obj = {
        "name": name,
        "generateName": base_name(job, index),
        "namespace": meta.namespace(job),
        "labels": labels,
        "annotations": annotations,
        "finalizers": finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER],
        "ownerReferences": [meta.owner_reference(job)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {k: v for k, v in metadata.items() if v}, "spec": spec}


def _tell_index(container: Obj) -> None:
    variables = container.setdefault("env", [])
    if all(variable["name"] != INDEX_VARIABLE for variable in variables):
        field = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
        variables.append({"name": INDEX_VARIABLE, "valueFrom": field})
