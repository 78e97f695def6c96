"""What every new pod is given: a ServiceAccount with its token, tolerations of a short node failure, a priority."""

from __future__ import annotations

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, meta, names
from holdfast.registry.authorize.node import MIRROR, referenced
from holdfast.registry.write import Write

TOKEN_SECONDS = 3607
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TOLERATION_SECONDS = 300
_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_CLASSES = "/registry/priorityclasses/"
_PREEMPT = "PreemptLowerPriority"


def _new_pod(write: Write) -> Obj | None:
    """The spec of a pod that is being created; None for any other write."""
    resource = write.kind.resource
    if write.old is not None or (resource.group, resource.plural) != ("", "pods"):
        return None
    spec = write.new.get("spec")
    return spec if isinstance(spec, dict) else None


async def service_account(write: Write) -> None:
    spec = _new_pod(write)
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


async def priority(write: Write) -> None:
    """The pod's priority is that of its class, or of the class that is everybody's; nobody sets it by hand."""
    spec = _new_pod(write)
    if spec is None:
        return
    chosen = _priority_class(write, spec.get("priorityClassName") or "")
    value, policy = chosen.get("value") or 0, chosen.get("preemptionPolicy") or _PREEMPT
    if chosen:
        spec["priorityClassName"] = meta.name(chosen)
    given, given_policy = spec.get("priority"), spec.get("preemptionPolicy")
    where = "must not be provided in pod spec; priority admission controller computed"
    if given not in (None, value):
        why = f"the integer value of priority ({given}) {where} {value} from the given PriorityClass name"
        raise errors.forbidden("pods", meta.name(write.new), why)
    if given_policy not in (None, policy):
        why = f"the string value of PreemptionPolicy ({given_policy}) {where} {policy} from the given PriorityClass name"
        raise errors.forbidden("pods", meta.name(write.new), why)
    spec["priority"], spec["preemptionPolicy"] = value, policy


def _priority_class(write: Write, name: str) -> Obj:
    """The class of that name; without one the default class; {} when there is none. Raises ApiError 403."""
    if name:
        found = write.cache.get(_CLASSES + name)
        if found is None:
            raise errors.forbidden("pods", meta.name(write.new), f"no PriorityClass with name {name} was found")
        return found.obj
    defaults = [item.obj for item in write.cache.list(_CLASSES) if item.obj.get("globalDefault")]
    return min(defaults, key=lambda one: one.get("value") or 0, default={})


async def one_default_priority(write: Write) -> None:
    """At most one PriorityClass is everybody's."""
    resource = write.kind.resource
    if (resource.group, resource.plural) != ("scheduling.k8s.io", "priorityclasses") or not write.new.get("globalDefault"):
        return
    for item in write.cache.list(_CLASSES):
        if item.obj.get("globalDefault") and meta.name(item.obj) != meta.name(write.new):
            why = f"PriorityClass {meta.name(item.obj)} is already marked as default. Only one default can exist"
            raise errors.forbidden("priorityclasses", meta.name(write.new), why, resource.group)


async def runtime_class(write: Write) -> None:
    """Overhead and scheduling of the class that a pod names; a class that is not there is refused."""
    spec = _new_pod(write)
    if spec is None:
        return
    name = spec.get("runtimeClassName")
    found = write.cache.get(f"/registry/runtimeclasses/{name}") if name else None
    if name and found is None:
        raise errors.forbidden("pods", meta.name(write.new), f'pod rejected: RuntimeClass "{name}" not found')
    chosen = found.obj if found else {}
    overhead = (chosen.get("overhead") or {}).get("podFixed")
    if spec.get("overhead") and not overhead:
        why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
        raise errors.forbidden("pods", meta.name(write.new), why)
    if overhead:
        if spec.get("overhead") not in (None, overhead):
            why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            raise errors.forbidden("pods", meta.name(write.new), why)
        spec["overhead"] = dict(overhead)
    _schedule_as(write, spec, chosen.get("scheduling") or {})


def _schedule_as(write: Write, spec: Obj, scheduling: Obj) -> None:
    selector = dict(spec.get("nodeSelector") or {})
    for label, value in (scheduling.get("nodeSelector") or {}).items():
        if selector.get(label, value) != value:
            why = (
                f"conflict: runtimeClass.scheduling.nodeSelector[{label}] = {value}; pod.spec.nodeSelector[{label}] = {selector[label]}"
            )
            raise errors.forbidden("pods", meta.name(write.new), why)
        selector[label] = value
    if selector:
        spec["nodeSelector"] = selector
    given = spec.get("tolerations") or []
    if added := [dict(entry) for entry in scheduling.get("tolerations") or [] if entry not in given]:
        spec["tolerations"] = [*given, *added]
