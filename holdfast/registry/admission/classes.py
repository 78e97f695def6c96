"""Classes that other objects name: priorities and runtimes of pods, who serves an Ingress.

A pod that names a class is given what the class says, so that nobody need look it up again; what a pod
says itself must agree. A class marked as the default is given to those that name none.
"""

from __future__ import annotations

from holdfast.kinds.core.claims import newest_default
from holdfast.kinds.definitions.classes import PREEMPTION, SYSTEM_CLASSES
from holdfast.kinds.definitions.ingress import CLASS_ANNOTATION
from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors, meta
from holdfast.machinery.errors import ApiError
from holdfast.registry.write import Write, new_pod

PRIORITIES, RUNTIMES, INGRESS = "/registry/priorityclasses/", "/registry/runtimeclasses/", "/registry/ingressclasses/"
_DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"


def _refuse(write: Write, why: str) -> ApiError:
    return errors.forbidden("pods", meta.name(write.new), why)


async def priority(write: Write) -> None:
    spec = new_pod(write)
    if spec is None:
        return
    name = spec.get("priorityClassName")
    chosen = write.cache.get(PRIORITIES + name) if name else None
    if name and chosen is None:
        raise _refuse(write, f"no PriorityClass with name {name} was found")
    found = chosen.obj if chosen else _default_priority(write)
    if found is not None and not name:
        spec["priorityClassName"] = meta.name(found)
    value = found["value"] if found else 0
    given = spec.get("priority")
    computed = "must not be provided in pod spec; priority admission controller computed"
    if given not in (None, value):
        text = f"the integer value of priority ({given}) {computed} {value} from the given PriorityClass name"
        raise _refuse(write, text)
    spec["priority"] = value
    policy = (found or {}).get("preemptionPolicy", PREEMPTION[0])
    given = spec.get("preemptionPolicy")
    if given not in (None, policy):
        text = f"the string value of PreemptionPolicy ({given}) {computed} {policy} from the given PriorityClass name"
        raise _refuse(write, text)
    spec["preemptionPolicy"] = policy


def _default_priority(write: Write) -> Obj | None:
    """Of several, which only a race can make, the lowest."""
    found = [item.obj for item in write.cache.list(PRIORITIES) if item.obj.get("globalDefault")]
    return min(found, key=lambda each: int(each["value"]), default=None)


async def one_default(write: Write) -> None:
    """Pods without a class get the default one: there is one at most."""
    resource = write.kind.resource
    if (resource.group, resource.plural) != ("scheduling.k8s.io", "priorityclasses") or not write.new.get("globalDefault"):
        return
    found = _default_priority(write)
    if found is not None and meta.name(found) != meta.name(write.new):
        why = f"PriorityClass {meta.name(found)} is already marked as default. Only one default can exist"
        raise errors.forbidden(resource.plural, meta.name(write.new), why, resource.group)


def check_delete(kind: Kind, name: str) -> None:
    resource = kind.resource
    if (resource.group, resource.plural) == ("scheduling.k8s.io", "priorityclasses") and name in SYSTEM_CLASSES:
        why = "this is a system priority class and cannot be deleted"
        raise errors.forbidden(resource.plural, name, why, resource.group)


async def runtime(write: Write) -> None:
    spec = new_pod(write)
    if spec is None:
        return
    name = spec.get("runtimeClassName")
    chosen = write.cache.get(RUNTIMES + name) if name else None
    if name is not None and chosen is None:
        raise _refuse(write, f'pod rejected: RuntimeClass "{name}" not found')
    found: Obj = chosen.obj if chosen else {}
    _overhead(write, spec, found.get("overhead"))
    _scheduling(write, spec, found.get("scheduling") or {})


def _overhead(write: Write, spec: Obj, overhead: Obj | None) -> None:
    given = spec.get("overhead")
    if overhead is None:
        if given is not None:
            raise _refuse(write, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
        return
    fixed = overhead.get("podFixed") or {}
    if given is not None and given != fixed:
        raise _refuse(write, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
    if fixed:
        spec["overhead"] = dict(fixed)


def _scheduling(write: Write, spec: Obj, scheduling: Obj) -> None:
    selector = dict(spec.get("nodeSelector") or {})
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        if selector.get(key, value) != value:
            lead = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}"
            raise _refuse(write, f"{lead}; pod.spec.nodeSelector[{key}] = {selector[key]}")
        selector[key] = value
    if selector:
        spec["nodeSelector"] = selector
    given = spec.get("tolerations") or []
    added = [dict(toleration) for toleration in scheduling.get("tolerations") or [] if toleration not in given]
    if added:
        spec["tolerations"] = [*given, *added]


async def ingress(write: Write) -> None:
    resource = write.kind.resource
    if write.old is not None or (resource.group, resource.plural) != ("networking.k8s.io", "ingresses"):
        return
    spec = write.new.get("spec")
    if not isinstance(spec, dict) or spec.get("ingressClassName") is not None or CLASS_ANNOTATION in meta.annotations_of(write.new):
        return
    chosen = newest_default((item.obj for item in write.cache.list(INGRESS)), (_DEFAULT_INGRESS,))
    if chosen:
        spec["ingressClassName"] = chosen
