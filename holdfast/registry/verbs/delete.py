"""delete: two-phase. With finalizers or grace the object stays, marked; without, it goes at once (P-13)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors, fielderror
from holdfast.registry import codec
from holdfast.registry.admission import check_delete
from holdfast.registry.request import Request, Result, Stored
from holdfast.registry.verbs.create import dry_run
from holdfast.store.api import MismatchError

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


async def execute(registry: Registry, request: Request) -> Result:
    options = delete_options(request)
    kind = request.kind
    await check_delete(registry, request)
    for _ in range(16):
        old = registry.live(kind, request.namespace, request.name)
        _preconditions(kind, old.obj, options)
        new = copy.deepcopy(old.obj)
        gone = mark(registry, kind, new, options)
        if dry_run(request):
            return _answer(kind, old.obj) if gone else Result(200, old)
        try:
            return await _commit(registry, request, old, new, gone=gone)
        except MismatchError as error:
            await registry.cache.wait(error.current.revision if error.current else registry.store.revision)
    raise errors.conflict(kind.resource.plural, request.name, group=kind.resource.group)


async def _commit(registry: Registry, request: Request, old: Stored, new: Obj, *, gone: bool) -> Result:
    kind = request.kind
    key = codec.key(kind, request.namespace, request.name)
    value = codec.encode(kind, new)
    if gone:
        revision = await registry.store.delete(key, old.revision, value)
        await registry.cache.wait(revision)
        # A pod that is deleted at once is answered as the object, as upstream does for graceful kinds.
        if kind.default_grace is not None or kind.resource.kind == "Namespace":
            return Result(200, codec.serve(kind, Stored(codec.splice(value, revision), revision)))
        return _answer(kind, old.obj)
    if codec.splice(value, old.revision) == registry.cache_bytes(key):
        return Result(200, old)
    revision = await registry.store.update(key, value, old.revision)
    return Result(200, await registry.committed(kind, request.namespace, request.name, revision, value))


def delete_options(request: Request) -> dict[str, Any]:
    """DeleteOptions out of body and query; the query wins where both speak. Raises ApiError 400 or 422."""
    body = request.body if isinstance(request.body, dict) else {}
    options = {
        k: body[k] for k in ("gracePeriodSeconds", "propagationPolicy", "orphanDependents", "preconditions") if body.get(k) is not None
    }
    if request.options.get("gracePeriodSeconds"):
        text = request.options["gracePeriodSeconds"]
        if not text.lstrip("-").isdigit():
            raise errors.bad_request(f'gracePeriodSeconds: strconv.ParseInt: parsing "{text}": invalid syntax')
        options["gracePeriodSeconds"] = int(text)
    if request.options.get("propagationPolicy"):
        options["propagationPolicy"] = request.options["propagationPolicy"]
    policy = options.get("propagationPolicy")
    found = []
    if policy and options.get("orphanDependents") is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        found.append(fielderror.invalid("propagationPolicy", policy, text))
    if policy not in (None, "Background", "Foreground", "Orphan"):
        found.append(fielderror.not_supported("propagationPolicy", policy, ("Background", "Foreground", "Orphan", "nil")))
    if found:
        raise errors.invalid("DeleteOptions", "", found, "meta.k8s.io")
    if options.get("orphanDependents"):
        options["propagationPolicy"] = "Orphan"
    return options


def _preconditions(kind: Kind, obj: Obj, options: dict[str, Any]) -> None:
    wanted = options.get("preconditions") or {}
    metadata, resource = obj["metadata"], kind.resource
    if wanted.get("uid") and wanted["uid"] != metadata["uid"]:
        text = (
            f"the UID in the precondition ({wanted['uid']}) does not match the UID in record ({metadata['uid']}). The object might have been"
            " deleted and then recreated"
        )
        raise errors.conflict(resource.plural, metadata["name"], text, resource.group)
    if wanted.get("resourceVersion") and wanted["resourceVersion"] != metadata["resourceVersion"]:
        text = (
            f"the ResourceVersion in the precondition ({wanted['resourceVersion']}) does not match the ResourceVersion in record"
            f" ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise errors.conflict(resource.plural, metadata["name"], text, resource.group)


def mark(registry: Registry, kind: Kind, obj: Obj, options: dict[str, Any]) -> bool:
    """Puts the deletion's marks on ``obj`` in place; True when nothing holds it any more."""
    metadata = obj["metadata"]
    _propagation(metadata, options.get("propagationPolicy"))
    grace = 0
    if kind.default_grace is not None:
        grace = kind.default_grace(obj)
        asked = options.get("gracePeriodSeconds")
        if asked is not None and grace:
            grace = int(asked) if int(asked) >= 0 else 1
    if metadata.get("deletionTimestamp"):
        before = metadata.get("deletionGracePeriodSeconds")
        if kind.default_grace is not None and before is not None and grace < before:
            started = -float(before)
            metadata["deletionTimestamp"] = registry.timestamp(grace) if grace else metadata["deletionTimestamp"]
            metadata["deletionGracePeriodSeconds"] = grace
            del started
    else:
        metadata["deletionTimestamp"] = registry.timestamp(grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if kind.has_generation:
            metadata["generation"] = metadata.get("generation", 1) + 1
        if kind.resource.kind == "Namespace":
            obj.setdefault("status", {})["phase"] = "Terminating"
    held = bool(metadata.get("finalizers")) or bool(metadata.get("deletionGracePeriodSeconds"))
    if kind.resource.kind == "Namespace" and (obj.get("spec") or {}).get("finalizers"):
        held = True
    return not held


def _propagation(metadata: Obj, policy: str | None) -> None:
    if policy is None:
        return
    finalizers = [f for f in metadata.get("finalizers") or [] if f not in (ORPHAN, FOREGROUND)]
    if policy in ("Orphan", "Foreground"):
        finalizers.append(ORPHAN if policy == "Orphan" else FOREGROUND)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _answer(kind: Kind, obj: Obj) -> Result:
    details = {
        "name": obj["metadata"]["name"],
        "group": kind.resource.group,
        "kind": kind.resource.plural,
        "uid": obj["metadata"]["uid"],
    }
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return Result(200, obj=status | {"details": {k: v for k, v in details.items() if v}})
