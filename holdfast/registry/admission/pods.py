"""Pods on their way in: their service account and its token, tolerations for sick nodes, priority."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.machinery import errors
from holdfast.machinery.names import generate_name

if TYPE_CHECKING:
    from holdfast.registry.pipeline import Write

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOLERATION_SECONDS = 300
PRIORITIES = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}


def _is_new_pod(write: Write) -> bool:
    return write.kind.resource.kind == "Pod" and write.old is None and isinstance(write.new.get("spec"), dict)


async def service_account(write: Write) -> None:
    """Names the account, and mounts its token, the CA and the namespace unless told not to."""
    if not _is_new_pod(write):
        return
    spec = write.new["spec"]
    name = spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = name
    namespace = write.request.namespace
    account = write.registry.cache.get(f"/registry/serviceaccounts/{namespace}/{name}")
    if account is None:
        pod = write.new["metadata"].get("name") or ""
        text = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden("pods", pod, text)
    wanted = spec.get("automountServiceAccountToken", account.obj.get("automountServiceAccountToken", True))
    if wanted:
        _mount_token(spec)


def _mount_token(spec: dict[str, Any]) -> None:
    containers = (spec.get("initContainers") or []) + (spec.get("containers") or [])
    bare = [c for c in containers if not any(m.get("mountPath") == TOKEN_PATH for m in c.get("volumeMounts") or [])]
    if not bare:
        return
    volume = generate_name("kube-api-access-")
    for container in bare:
        container.setdefault("volumeMounts", []).append({"name": volume, "readOnly": True, "mountPath": TOKEN_PATH})
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]
    spec.setdefault("volumes", []).append({"name": volume, "projected": {"sources": sources, "defaultMode": 420}})


async def default_tolerations(write: Write) -> None:
    """A pod stays five minutes on a node that is not ready or not reachable, unless it says otherwise."""
    if not _is_new_pod(write):
        return
    tolerations = write.new["spec"].setdefault("tolerations", [])
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if not any(t.get("key") in (key, None) and t.get("effect") in ("NoExecute", None) for t in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS})


async def priority(write: Write) -> None:
    if not _is_new_pod(write):
        return
    spec = write.new["spec"]
    name = spec.get("priorityClassName")
    if name and name not in PRIORITIES:
        text = f"no PriorityClass with name {name} was found"
        raise errors.forbidden("pods", write.new["metadata"].get("name", ""), text)
    spec["priority"] = PRIORITIES.get(name or "", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
