"""What every new pod is given: a ServiceAccount with its token, tolerations of a short node failure."""

from __future__ import annotations

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, meta, names
from holdfast.registry.authorize.node import MIRROR, referenced
from holdfast.registry.write import Write, new_pod

TOKEN_SECONDS = 3607
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TOLERATION_SECONDS = 300
_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


async def service_account(write: Write) -> None:
    spec = new_pod(write)
    if spec is None:
        return
    if MIRROR in meta.annotations_of(write.new):
        _check_mirror(write, spec)
        return
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    namespace = write.request.namespace
    found = write.cache.get(f"/registry/serviceaccounts/{namespace}/{name}")
    if found is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden("pods", meta.name(write.new), why)
    wanted = spec.get("automountServiceAccountToken")
    if wanted is None:
        wanted = found.obj.get("automountServiceAccountToken", True)
    if wanted:
        _mount_token(spec)
    pull = found.obj.get("imagePullSecrets")
    if pull and not spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(entry) for entry in pull]


def _check_mirror(write: Write, spec: Obj) -> None:
    """A mirror shows what a node runs by itself: it names nothing that the API would have to open to that node."""
    named = {kind for part in ("volumes", "containers", "initContainers") for kind, _ in referenced(spec.get(part))}
    sources = [s for volume in spec.get("volumes") or [] for s in (volume.get("projected") or {}).get("sources") or []]
    if spec.get("serviceAccountName"):
        why = "a mirror pod may not reference service accounts"
    elif "secrets" in named or spec.get("imagePullSecrets") or any(v.get("azureFile") for v in spec.get("volumes") or []):
        why = "a mirror pod may not reference secrets"
    elif any(source.get("serviceAccountToken") for source in sources):
        why = "a mirror pod may not use ServiceAccountToken volume projections"
    else:
        return
    raise errors.forbidden("pods", meta.name(write.new), why)


def _mount_token(spec: Obj) -> None:
    volumes = spec.get("volumes") or []
    present = {v.get("name", "") for v in volumes if str(v.get("name", "")).startswith("kube-api-access-") and v.get("projected")}
    name = next(iter(sorted(present)), "") or names.generate_name("kube-api-access-")
    used = False
    for container in (spec.get("initContainers") or []) + (spec.get("containers") or []):
        mounts = container.get("volumeMounts") or []
        if any(mount.get("mountPath") == MOUNT for mount in mounts):
            continue
        container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT}]
        used = True
    if used and not present:
        spec["volumes"] = [*volumes, _volume(name)]


def _volume(name: str) -> Obj:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 420}}


async def tolerations(write: Write) -> None:
    """On updates too: a client that sets the list anew does not take these away."""
    resource, spec = write.kind.resource, write.new.get("spec")
    if (resource.group, resource.plural) != ("", "pods") or write.request.subresource or not isinstance(spec, dict):
        return
    given = spec.get("tolerations") or []
    for taint in _NODE_TAINTS:
        covered = any(t.get("key") in (None, "", taint) and t.get("effect") in (None, "", "NoExecute") for t in given)
        if not covered:
            entry = {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
            given = [*given, entry]
    spec["tolerations"] = given
