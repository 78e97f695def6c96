"""delete: at once, or in steps that others complete.

A deletion may have to wait: for a grace period (pods: their node stops them, then deletes with grace 0),
for finalizers (the garbage collector's ``orphan`` and ``foregroundDeletion`` among them), for a
namespace's content. While it waits the object carries its deletionTimestamp; the write that removes the
last reason removes the object (``verbs.update.finished``).
"""

from __future__ import annotations

from holdfast.kinds.kind import Kind, Obj
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery import errors, meta
from holdfast.machinery.errors import ApiError
from holdfast.registry import codec, options
from holdfast.registry.admission import classes, namespace, node
from holdfast.registry.core import Core
from holdfast.registry.options import DeleteOptions
from holdfast.registry.request import Request, Result, Stored
from holdfast.registry.verbs.common import RETRIES, catch_up, current, modified
from holdfast.registry.verbs.update import finished
from holdfast.registry.write import Write
from holdfast.store.api import MismatchError

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
ANSWERED_WITH_OBJECT = frozenset(
    (
        "pods",
        "podtemplates",
        "services",
        "serviceaccounts",
        "resourcequotas",
        "persistentvolumes",
        "persistentvolumeclaims",
        "storageclasses",
        "volumeattachments",
        "volumeattributesclasses",
        "csidrivers",
        "csinodes",
    )
)
"""Upstream answers the deletion of these with the object, of all others with a Status."""


async def delete(core: Core, request: Request) -> Result:
    wanted = options.delete_options(request)
    namespace.check_delete(request.kind, request.name)
    classes.check_delete(request.kind, request.name)
    warnings = (request.kind.delete_warning,) if request.kind.delete_warning and not wanted.policy else ()
    for _ in range(RETRIES):
        found = current(core, request)
        check_preconditions(request.kind, found, wanted)
        node.check_delete(request, found.obj)
        try:
            return (await _attempt(core, request, found, wanted))._replace(warnings=warnings)
        except MismatchError:
            await catch_up(core)
            continue
    raise modified(request.kind, request.name)


def check_preconditions(kind: Kind, found: Stored, wanted: DeleteOptions) -> None:
    metadata = found.obj["metadata"]
    if wanted.uid is not None and wanted.uid != metadata["uid"]:
        text = f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({metadata['uid']})."
        raise _conflict(kind, metadata["name"], f"{text} The object might have been deleted and then recreated")
    if wanted.revision is not None and wanted.revision != str(found.revision):
        text = f"the ResourceVersion in the precondition ({wanted.revision}) does not match the ResourceVersion in record"
        raise _conflict(kind, metadata["name"], f"{text} ({found.revision}). The object might have been modified")


def _conflict(kind: Kind, name: str, why: str) -> ApiError:
    return errors.conflict(kind.resource.kind, name, why, kind.resource.group)


async def _attempt(core: Core, request: Request, found: Stored, wanted: DeleteOptions) -> Result:
    kind = request.kind
    old = codec.serve(kind, found).obj
    new = begun(kind, old, wanted, core.clock.now())
    if finished(kind, new):
        # Only a grace period leaves its marks on the last state; anything else was simply there, then not.
        last = new if kind.default_grace else old
        gone = await core.committer.delete(kind, last, found, dry_run=wanted.dry_run)
        answers = kind.resource.plural in ANSWERED_WITH_OBJECT or meta.is_terminating(old)
        return Result(stored=gone) if answers else Result(obj=_success(kind, old))
    code = 202 if wanted.cascading else 200
    if new == old:
        return Result(code, stored=codec.serve(kind, found))
    write = Write(core, request, new, old)
    return Result(code, stored=await core.committer.update(write.kind, write.new, found, dry_run=wanted.dry_run))


def begun(kind: Kind, old: Obj, wanted: DeleteOptions, now: float) -> Obj:
    """The object with its deletion begun, or a running one hastened. Pure."""
    new = codec.copy(old)
    metadata = new["metadata"]
    of_namespace = (kind.resource.group, kind.resource.plural) == ("", "namespaces")
    policy = "Background" if of_namespace and wanted.policy == "Foreground" else wanted.policy
    grace = _grace(kind, old, wanted.grace)
    if meta.is_terminating(old):
        if not of_namespace and _hasten(metadata, grace, asked=wanted.grace is not None):
            _propagate(kind, metadata, policy)
        return new
    _propagate(kind, metadata, policy)
    metadata["deletionTimestamp"] = rfc3339(now + grace)
    if of_namespace:
        new.setdefault("status", {})["phase"] = "Terminating"
        return new
    metadata["deletionGracePeriodSeconds"] = grace
    if kind.has_generation and "generation" in metadata:
        metadata["generation"] += 1
    return new


def _grace(kind: Kind, obj: Obj, asked: int | None) -> int:
    """Seconds granted; kinds without a grace period have none, and nobody waits for a pod that nothing runs."""
    if kind.default_grace is None:
        return 0
    spec = obj.get("spec") or {}
    if kind.default_grace({**obj, "spec": {**spec, "terminationGracePeriodSeconds": 1}}) == 0:
        return 0
    grace = kind.default_grace(obj) if asked is None else asked
    return 1 if grace < 0 else grace


def _hasten(metadata: Obj, grace: int, *, asked: bool) -> bool:
    """A running grace period may only be shortened. False when it is not: then nothing of the deletion may be changed."""
    before = metadata.get("deletionGracePeriodSeconds") or 0
    if not before:
        return True
    if grace >= before or not (asked or grace == 0):
        return False
    moment = parse_rfc3339(metadata["deletionTimestamp"]) - before + grace
    metadata["deletionTimestamp"] = rfc3339(moment)
    metadata["deletionGracePeriodSeconds"] = grace
    return True


def _propagate(kind: Kind, metadata: Obj, policy: str) -> None:
    """What the caller says about dependents; else what its finalizers say; else what the kind's default is."""
    present = metadata.get("finalizers") or []
    if kind.event_ttl_seconds:  # nothing depends on an Event
        policy = "Background"
    elif not policy and ORPHAN not in present and FOREGROUND not in present:
        policy = kind.default_propagation
    if not policy:
        return
    kept = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    added = {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(policy, [])
    if kept or added:
        metadata["finalizers"] = kept + added
    else:
        metadata.pop("finalizers", None)


def _success(kind: Kind, obj: Obj) -> Obj:
    resource = kind.resource
    details = {"name": meta.name(obj), "group": resource.group, "kind": resource.plural, "uid": meta.uid(obj)}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {name: value for name, value in details.items() if value},
    }
