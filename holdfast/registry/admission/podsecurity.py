"""PodSecurity: pods that break the standard their namespace enforces are refused; templates of such pods are warned of.

Every way to a pod's spec comes through here: create, update and each patch, ephemeral containers and resize,
with or without dry run (SEC-14, SEC-50). What the namespace's labels leave open is decided by the server's
defaults: ``baseline`` is enforced, ``restricted`` warned of; kube-system is exempt.
"""

from __future__ import annotations

from collections import defaultdict

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, meta
from holdfast.registry.podsecurity import details, evaluate, reasons
from holdfast.registry.podsecurity.policy import ENFORCE, PRIVILEGED, LevelVersion, policy_of
from holdfast.registry.write import Write

EXEMPT = ("kube-system",)
_CHECKED = 3000
_WITHOUT_SPEC = ("exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status")
_TEMPLATE = ("spec", "template")
_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): _TEMPLATE,
    ("apps", "replicasets"): _TEMPLATE,
    ("apps", "deployments"): _TEMPLATE,
    ("apps", "statefulsets"): _TEMPLATE,
    ("apps", "daemonsets"): _TEMPLATE,
    ("batch", "jobs"): _TEMPLATE,
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}


async def secure(write: Write) -> None:
    resource = write.kind.resource
    kind, subresource = (resource.group, resource.plural), write.request.subresource
    if kind == ("", "pods"):
        if subresource not in _WITHOUT_SPEC:
            _pod(write)
    elif kind == ("", "namespaces"):
        if not subresource:
            _namespace(write)
    elif not (subresource or write.request.via) and (path := _TEMPLATES.get(kind)) is not None:
        template: Obj | None = write.new
        for step in path:
            template = (template or {}).get(step)
        if template and write.request.namespace not in EXEMPT:
            _warn(write, template)


def _labels(write: Write) -> Obj:
    found = write.cache.get(f"/registry/namespaces/{write.request.namespace}")
    return (found.obj["metadata"].get("labels") or {}) if found else {}


def _pod(write: Write) -> None:
    if write.request.namespace in EXEMPT or (write.old is not None and not _is_significant(write.new, write.old)):
        return
    wanted, _ = policy_of(_labels(write), write.core.pod_security)
    found = evaluate(wanted.enforce, write.new["metadata"], write.new["spec"])
    if not found:
        _warn(write, write.new)
        return
    remedy = f"to allow it, an administrator sets the label {ENFORCE}=privileged on namespace {write.request.namespace}"
    why = f'violates PodSecurity "{wanted.enforce}": {details(found)}; {remedy}'
    raise errors.forbidden("pods", meta.name(write.new), why)


def _warn(write: Write, template: Obj) -> None:
    wanted, _ = policy_of(_labels(write), write.core.pod_security)
    found = evaluate(wanted.warn, template.get("metadata") or {}, template.get("spec") or {})
    if found:
        write.warnings.append(f'would violate PodSecurity "{wanted.warn}": {details(found)}')


def _is_significant(new: Obj, old: Obj) -> bool:
    """Whether an update changes what a container is: then it is looked at again, else what runs may go on."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    for part in ("initContainers", "containers"):
        if [c.get("image") for c in before.get(part) or []] != [c.get("image") for c in after.get(part) or []]:
            return True
    known = {c["name"]: c.get("image") for c in before.get("ephemeralContainers") or []}
    return any(known.get(c["name"]) != c.get("image") for c in after.get("ephemeralContainers") or [])


# Namespaces


def _namespace(write: Write) -> None:
    """Labels must be readable; when more is enforced than before, the pods that would not pass are named."""
    default = write.core.pod_security
    name = meta.name(write.new)
    wanted, faults = policy_of(write.new["metadata"].get("labels") or {}, default)
    before, old_faults = policy_of(((write.old or {}).get("metadata") or {}).get("labels") or {}, default)
    if faults and (write.old is None or faults != old_faults):
        raise errors.invalid("Namespace", name, faults)
    if write.old is None or wanted.enforce == before.enforce or wanted.enforce.level == PRIVILEGED or name in EXEMPT:
        return
    if wanted.enforce.version != before.enforce.version or wanted.enforce.stricter_than(before.enforce):
        write.warnings += _existing(write, name, wanted.enforce)


def _existing(write: Write, namespace: str, enforce: LevelVersion) -> list[str]:
    pods = [item.obj for item in write.cache.list(f"/registry/pods/{namespace}/")]
    against: dict[str, list[str]] = defaultdict(list)
    for pod in pods[:_CHECKED]:
        if found := evaluate(enforce, pod["metadata"], pod["spec"]):
            against[reasons(found)].append(meta.name(pod))
    said = []
    if len(pods) > _CHECKED:
        said.append(f"new PodSecurity enforce level only checked against the first {_CHECKED} of {len(pods)} existing pods")
    if against:
        said.append(f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{enforce}"')
    return said + sorted(f"{_some(names)}: {reason}" for reason, names in against.items())


def _some(names: list[str]) -> str:
    first, others = min(names), len(names) - 1
    return first if not others else f"{first} (and {others} other {'pod' if others == 1 else 'pods'})"
