"""NodeRestriction: what an agent writes must be about its own node and the pods bound to it.

The Node authorizer decides by names; here the content is looked at: labels and taints that would draw other
pods to the node, owners that would let the garbage collector take it away, pods that name secrets, volumes
that lie elsewhere (SEC-22, SEC-23). Writes come through ``restrict``; deletions, evictions and tokens, which
carry no object, ask ``check_delete``, ``check_eviction`` and ``check_token``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.kinds.core.claims import SELECTED_NODE, pinned_to
from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, meta
from holdfast.machinery.errors import ApiError
from holdfast.registry.authorize import node_of
from holdfast.registry.authorize.node import LEASES, MIRROR, referenced
from holdfast.registry.request import Request
from holdfast.registry.write import Write

_KUBELET_LABELS = frozenset(
    (
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    )
)
_KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
NOT_READY = "node.kubernetes.io/not-ready"
_RESTRICTED = "node-restriction.kubernetes.io"
_PROVISIONER = "external-provisioner.volume.kubernetes.io/finalizer"
_BOOKKEEPING = ("resourceVersion", "managedFields", "generation")


async def not_ready(write: Write) -> None:
    """A new node takes no pods until it has said that it is ready: its taint goes then (controllers.nodes)."""
    resource = write.kind.resource
    if write.old is not None or (resource.group, resource.plural) != ("", "nodes"):
        return
    taints = write.new.setdefault("spec", {}).setdefault("taints", [])
    if not any(taint.get("key") == NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
        taints.append({"key": NOT_READY, "effect": "NoSchedule"})


async def restrict(write: Write) -> None:
    node = node_of(write.request.user)
    if node is None:
        return
    if not node:
        raise _refused(write.request, f'could not determine node from user "{write.request.user.name}"')
    resource = write.kind.resource
    check = _CHECKS.get((resource.group, resource.plural))
    if check is not None and (why := check(node, write)):
        raise _refused(write.request, why, meta.name(write.new))


def _refused(request: Request, why: str, name: str = "") -> ApiError:
    resource = request.kind.resource
    return errors.forbidden(resource.plural, request.name or name, why, resource.group)


def _changed(write: Write, *path: str) -> bool:
    old, new = (_at(obj, path) for obj in (write.old or {}, write.new))
    return (old or None) != (new or None)


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        obj = (obj or {}).get(step)
    return obj


# Nodes


def _check_node(node: str, write: Write) -> str:
    name = meta.name(write.new)
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if _changed(write, "metadata", "ownerReferences"):
        return f'node "{node}" is not allowed to modify ownerReferences'
    if write.old is None:
        forbidden = _forbidden_labels(write.new, {})
        return f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden)}' if forbidden else ""
    if _changed(write, "spec", "taints"):
        return f'node "{node}" is not allowed to modify taints'
    forbidden = _forbidden_labels(write.new, write.old)
    return f"is not allowed to modify labels: {', '.join(forbidden)}" if forbidden else ""


def _forbidden_labels(new: Obj, old: Obj) -> list[str]:
    now, before = ((obj.get("metadata") or {}).get("labels") or {} for obj in (new, old))
    return sorted(key for key in {*now, *before} if now.get(key) != before.get(key) and not _is_free(key))


def _is_free(label: str) -> bool:
    domain = label.partition("/")[0] if "/" in label else ""
    if _within(domain, _RESTRICTED):
        return False
    if label in _KUBELET_LABELS or any(_within(domain, own) for own in _KUBELET_DOMAINS):
        return True
    return not (_within(domain, "kubernetes.io") or _within(domain, "k8s.io"))


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


# Pods


def _check_pod(node: str, write: Write) -> str:
    if write.request.subresource == "status":
        if _bound_to(write.old or {}) != node:
            return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
        if _changed(write, "metadata", "labels"):
            return f'node "{node}" cannot update labels through pod status'
        if _changed(write, "status", "resourceClaimStatuses"):
            return f'node "{node}" cannot update resource claim statues'
        return ""
    if write.request.subresource:
        return f"unexpected pod subresource \"{write.request.subresource}\", only 'status' and 'eviction' are allowed"
    if write.old is not None:
        return f'unexpected operation "UPDATE", node "{node}" can only create and delete mirror pods'
    if MIRROR not in meta.annotations_of(write.new):
        return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
    if _bound_to(write.new) != node:
        return f'node "{node}" can only create pods with spec.nodeName set to itself'
    return _owned_by_node(node, write) or _names_others(node, write.new.get("spec") or {})


def _bound_to(pod: Obj) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _owned_by_node(node: str, write: Write) -> str:
    owners = write.new["metadata"].get("ownerReferences") or []
    if len(owners) > 1:
        return f'node "{node}" can only create pods with a single owner reference set to itself'
    owner = owners[0] if owners else {}
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        return f'node "{node}" can only create pods with an owner reference set to itself'
    if not owner.get("controller"):
        return f'node "{node}" can only create pods with a controller owner reference set to itself'
    if owner.get("blockOwnerDeletion"):
        return f'node "{node}" must not set blockOwnerDeletion on an owner reference'
    found = write.cache.get(f"/registry/nodes/{node}")
    if found is None:
        raise errors.not_found("nodes", node)
    if owner.get("uid") != meta.uid(found.obj):
        return f"node {node} UID mismatch: expected {owner.get('uid')} got {meta.uid(found.obj)}"
    return ""


def _names_others(node: str, spec: Obj) -> str:
    """Naming an object of the API would open it to the node. (Accounts and secrets: ``admission.pod``, for every mirror pod.)"""
    if any(kind == "configmaps" for part in ("volumes", "containers", "initContainers") for kind, _ in referenced(spec.get(part))):
        return f'node "{node}" can not create pods that reference configmaps'
    if any(volume.get("persistentVolumeClaim") or volume.get("ephemeral") for volume in spec.get("volumes") or []):
        return f'node "{node}" can not create pods that reference persistentvolumeclaims'
    return ""


# What else a node writes


def _check_lease(node: str, write: Write) -> str:
    if write.request.namespace != LEASES:
        return f'can only access leases in the "{LEASES}" system namespace'
    if meta.name(write.new) != node:
        return "can only access node lease with the same name as the requesting node"
    return ""


def _check_csi_node(node: str, write: Write) -> str:
    return "" if meta.name(write.new) == node else "can only access CSINode with the same name as the requesting node"


_GROWTH = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")


def _check_claim(node: str, write: Write) -> str:
    """How the growth of its volume comes along, and nothing else."""
    if write.request.subresource != "status":
        return "may only update PVC status"
    before, after = (
        {name: value for name, value in (obj.get("status") or {}).items() if name not in _GROWTH}
        for obj in (write.old or {}, write.new)
    )
    changed = before != after or any(_changed(write, *path) for path in (("metadata", "labels"), ("metadata", "annotations")))
    return f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions' if changed else ""


def _check_volume(node: str, write: Write) -> str:
    """A node provisions volumes that lie on it, for claims given to it, grows them and says what became of them; of a used one it
    keeps fence and finalizer."""
    if write.request.subresource:
        return ""
    if write.old is not None:
        before, after = (set(obj["metadata"].get("finalizers") or []) for obj in (write.old, write.new))
        here = pinned_to(write.old) == node
        kept = _but_for_bookkeeping(write.old, grows=here) == _but_for_bookkeeping(write.new, grows=here)
        if kept and before ^ after <= {_PROVISIONER}:
            return ""
        return f'node "{node}" is not allowed to update fields other than annotations and the finalizer of its provisioner'
    if pinned_to(write.new) != node:
        return f'node "{node}" can only create persistentvolumes with a nodeAffinity to itself'
    if not (write.new.get("spec") or {}).get("csi"):
        return f'node "{node}" can only create persistentvolumes of a CSI driver'
    if write.new["metadata"].get("ownerReferences"):
        return f'node "{node}" is not allowed to modify ownerReferences'
    reference = write.new["spec"].get("claimRef") or {}
    claim = write.cache.get(f"/registry/persistentvolumeclaims/{reference.get('namespace')}/{reference.get('name')}")
    given = claim is not None and meta.annotations_of(claim.obj).get(SELECTED_NODE) == node
    if claim is None or not given or meta.uid(claim.obj) != reference.get("uid"):
        return f'node "{node}" can only create persistentvolumes for claims with the annotation {SELECTED_NODE} set to itself'
    return ""


def _but_for_bookkeeping(obj: Obj, *, grows: bool) -> Obj:
    """``grows``: without its capacity too."""
    left_out = (*_BOOKKEEPING, "annotations", "finalizers")
    spec = {name: value for name, value in obj["spec"].items() if not grows or name != "capacity"}
    return {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name not in left_out}, "spec": spec}


_CHECKS: dict[tuple[str, str], Callable[[str, Write], str]] = {
    ("", "nodes"): _check_node,
    ("", "pods"): _check_pod,
    ("", "persistentvolumeclaims"): _check_claim,
    ("", "persistentvolumes"): _check_volume,
    ("coordination.k8s.io", "leases"): _check_lease,
    ("storage.k8s.io", "csinodes"): _check_csi_node,
}


# Requests without an object of the kind


def check_delete(request: Request, found: Obj) -> None:
    """Before an agent deletes ``found``. Raises ApiError 403."""
    node = node_of(request.user)
    if node is None or (request.kind.resource.group, request.kind.resource.plural) != ("", "pods"):
        return
    if _bound_to(found) != node:
        raise _refused(request, f'node "{node}" can only delete pods with spec.nodeName set to itself')


def check_eviction(request: Request, pod: Obj) -> None:
    node = node_of(request.user)
    if node is not None and _bound_to(pod) != node:
        raise _refused(request, f"node {node} can only evict pods with spec.nodeName set to itself")


def check_token(request: Request, reference: Obj, pod: Obj | None) -> None:
    """An agent's token request: bound to a pod, by uid, and that pod bound to its node."""
    node = node_of(request.user)
    if node is None:
        return
    if pod is None or (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod"):
        raise _refused(request, "node requested token not bound to a pod")
    if not reference.get("uid"):
        raise _refused(request, "node requested token with a pod binding without a uid")
    if _bound_to(pod) != node:
        raise _refused(request, "node requested token bound to a pod scheduled on a different node")
