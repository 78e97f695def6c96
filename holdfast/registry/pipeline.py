"""The way of a write, as one ordered tuple. Authorization stands before it (``core.registry``), the commit behind it.

Update and patch walk it again at each conflict retry; ``verbs`` calls ``walk`` and commits what it leaves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from holdfast.client.api import STRATEGIC_PATCH
from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors, names
from holdfast.machinery.decode import MistypedError, decode, go_text
from holdfast.machinery.default import apply_defaults
from holdfast.machinery.errors import ApiError
from holdfast.machinery.fielderror import FieldError, invalid
from holdfast.machinery.meta import check_meta
from holdfast.machinery.validate import validate
from holdfast.registry import codec
from holdfast.registry.admission import MUTATING, VALIDATING, service
from holdfast.registry.managers import base, manager_of, updated
from holdfast.registry.request import Request, strict_text
from holdfast.registry.write import Write

Step = Callable[[Write], Awaitable[None]]
_SERVER_OWNED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
)
_GRACE = "deletionGracePeriodSeconds"
_DELETION = ("deletionTimestamp", _GRACE)
"""May be left out of an update; what it says otherwise than the object does is refused by ``check_meta``."""

_SHOWN = 2048
_OMITTED_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences", "generateName")


async def walk(write: Write) -> None:
    for step in STEPS:
        await step(write)


async def _decode(write: Write) -> None:
    """Types, unknown fields, and that the body is what the URL says."""
    request, resource = write.request, write.kind.resource
    body: Any = write.new
    check_type(body, resource.api_version, resource.kind)
    shared = _shared(write)
    try:
        new, unknown = decode(write.kind.schema, {n: v for n, v in body.items() if n not in shared} if shared else body)
    except ApiError as error:
        raise _undecodable(request, body, error) from None
    new.update(shared)
    new["kind"], new["apiVersion"] = resource.kind, resource.api_version
    metadata = new.get("metadata") or {}
    new["metadata"] = {name: value for name, value in metadata.items() if value or name not in _OMITTED_EMPTY}
    if unknown or request.doubled:
        how = request.options.get("fieldValidation") or "Warn"
        strange = [f'unknown field "{path}"' for path in sorted(unknown)]
        if how == "Strict":
            raise _undecodable(
                request, body, errors.bad_request(f"strict decoding error: {', '.join(strict_text(request.doubled) + strange)}")
            )
        if how == "Warn":
            write.warnings += [*request.doubled, *strange]
    check_address(request, new)
    write.new = new


def _shared(write: Write) -> Obj:
    """What a write of the status has taken over as it is from the object there: well-formed, and not for it to change."""
    if not write.status_only or write.old is None:
        return {}
    taken = ((name, write.old.get(name)) for name in write.new if name not in ("metadata", "status"))
    return {name: value for name, value in taken if isinstance(value, dict | list) and value is write.new[name]}


def _undecodable(request: Request, body: Any, error: ApiError) -> ApiError:
    """400 for a body; 422 for a patch: a strategic one is shown itself, the others by what they leave behind."""
    resource = request.kind.resource
    if request.verb != "patch":
        return errors.bad_request(f"{_unhandled(resource.kind, resource.version, resource.kind)}: {error.message}")
    if request.content_type.startswith(STRATEGIC_PATCH):
        text = error.restored if isinstance(error, MistypedError) else error.message
        return errors.invalid("", "", [invalid("patch", go_text(request.body)[:_SHOWN], text)])
    shown = orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()[:_SHOWN]
    return errors.invalid("", "", [invalid("patch", shown, error.message)])


def _unhandled(given: str, version: str, wanted: str) -> str:
    return f'{given} in version "{version}" cannot be handled as a {wanted}'


def check_type(body: Any, api_version: str, kind: str) -> None:
    """Raises ApiError 400 unless the body is an object of that type (or names none)."""
    if not isinstance(body, dict):
        raise errors.bad_request(f"the object provided is unrecognized (must be of type {kind})")
    given_version, given = body.get("apiVersion") or api_version, body.get("kind") or kind
    version = api_version.rpartition("/")[2]
    if given != kind:
        lead = _unhandled(str(given), str(given_version).rpartition("/")[2], kind)
        internal = api_version.partition("/")[0].partition(".")[0] if "/" in api_version else "core"
        raise errors.bad_request(f"{lead}: converting ({version}.{given}) to ({internal}.{kind}): unknown conversion")
    if given_version != api_version:
        raise errors.bad_request(f'{_unhandled(kind, version, kind)}: no kind "{kind}" is registered for version "{given_version}"')


def check_address(request: Request, new: Obj) -> None:
    """The body's name and namespace must be the URL's."""
    metadata = new["metadata"]
    if request.kind.resource.namespaced:
        if not metadata.get("namespace"):
            metadata["namespace"] = request.namespace
        if metadata["namespace"] != request.namespace:
            raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
    else:
        metadata.pop("namespace", None)
    if not request.name:
        return
    if not metadata.get("name"):
        raise errors.bad_request(f"the name of the object ({request.name} based on URL) was undeterminable: name must be provided")
    if metadata["name"] != request.name:
        raise errors.bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({request.name})")


async def _identify(write: Write) -> None:
    """What only the server says about an object: who it is and since when; on update, whatever it was."""
    if write.old is not None:
        _keep(write, write.old)
        return
    metadata = write.new["metadata"]
    if metadata.get("resourceVersion") not in (None, "", "0"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    metadata.pop("resourceVersion", None)
    for name in _SERVER_OWNED:
        metadata.pop(name, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = names.generate_name(metadata["generateName"])
    metadata["uid"] = write.core.new_uid()
    metadata["creationTimestamp"] = write.core.timestamp()


def _keep(write: Write, old: Obj) -> None:
    metadata, before = write.new["metadata"], old["metadata"]
    if metadata.get("uid") and metadata["uid"] != before["uid"]:
        _refuse_uid(write, metadata["uid"], before)
    for name in _SERVER_OWNED:
        if name in before and (name != _GRACE or metadata.get(name) is None):
            metadata[name] = before[name]
        elif name not in _DELETION or metadata.get(name) is None:
            metadata.pop(name, None)
    metadata["resourceVersion"] = before["resourceVersion"]
    if before.get("generateName"):
        metadata["generateName"] = before["generateName"]
    if write.status_only:
        # A write of the status may carry labels and annotations, as upstream; nothing else of the object.
        if "ownerReferences" in before:
            metadata["ownerReferences"] = before["ownerReferences"]
        else:
            metadata.pop("ownerReferences", None)
        status = {"status": write.new["status"]} if "status" in write.new else {}
        # Shared with what readers have: from here on nobody changes more of it than its status and metadata.
        write.new = {name: value for name, value in old.items() if name not in ("metadata", "status")} | {"metadata": metadata} | status
    elif write.part is not None and write.part.part is not None:
        written, write.new = write.new, codec.copy(old)
        write.part.part(write.new, written)


def _refuse_uid(write: Write, given: str, before: Obj) -> None:
    resource, name = write.kind.resource, before["name"]
    if write.request.verb == "patch":
        raise errors.invalid(resource.kind, name, [invalid("metadata.uid", given, "field is immutable")], resource.group)
    key = write.core.key(write.kind, before.get("namespace", ""), name)
    text = (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed:"
        f" UID in precondition: {given}, UID in object meta: {before['uid']}"
    )
    raise errors.conflict(resource.plural, name, text, resource.group)


async def _default(write: Write) -> None:
    if not write.status_only:
        apply_defaults(write.kind.schema, write.new)
        return
    # What is shared with readers has its defaults; an empty stand-in spares it the walk.
    shown = {n: {} if n not in ("metadata", "status") and isinstance(v, dict) else v for n, v in write.new.items()}
    apply_defaults(write.kind.schema, shown)
    if "status" in shown:
        write.new["status"] = shown["status"]


async def _manage(write: Write) -> None:
    """Who set which field: of what the client asked for, before admission adds its own."""
    metadata = write.new["metadata"]
    given = metadata.pop("managedFields", None)
    live = (write.old["metadata"].get("managedFields") or []) if write.old else []
    entries = write.managed
    if entries is None:
        entries = live if write.request.subresource else base(given, live)
        entries = updated(write.kind, entries, write.old, write.new, manager_of(write.request), write.core.timestamp())
    if entries:
        metadata["managedFields"] = entries


async def _mutating(write: Write) -> None:
    for plugin in MUTATING:
        await plugin(write)


async def _prepare(write: Write) -> None:
    """Which half a write may touch, what the kind derives, and the generation."""
    new, old, kind = write.new, write.old, write.kind
    if write.status_only:
        return
    if kind.has_status:
        new.pop("status", None)
        if old is not None and "status" in old:
            new["status"] = old["status"]
    for act in kind.prepare if write.part is None else ():
        act(new, old)
    if not kind.has_generation:
        return
    if old is None:
        new["metadata"]["generation"] = 1
    else:
        changed = _desired(new) != _desired(old)
        new["metadata"]["generation"] = old["metadata"].get("generation", 1) + int(changed)


def _desired(obj: Obj) -> Obj:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status", "kind", "apiVersion")}


async def _validate(write: Write) -> None:
    kind, new, old = write.kind, write.new, write.old
    resource = kind.resource
    name = new["metadata"].get("name", "")
    found = _check_meta(kind, new, old)
    if write.status_only:
        for check in kind.status_checks:
            found += check(new, old, "")
    else:
        found += validate(kind.schema, new, old)
        for check in write.part.checks if write.part else kind.checks:
            found += check(new, old, "")
    if found:
        raise errors.invalid(resource.kind, name, found, resource.group)
    for warn in kind.warnings if not write.request.subresource else ():
        write.warnings += warn(new, old)


def _check_meta(kind: Kind, new: Obj, old: Obj | None) -> list[FieldError]:
    metadata = new["metadata"]
    found: list[FieldError] = []
    base = metadata.get("generateName")
    if old is None and base and kind.name_check is None:
        found += [invalid("metadata.generateName", base, text) for text in names.dns1123_subdomain(base.rstrip("-.") or base)]
    found += check_meta(
        metadata,
        old["metadata"] if old else None,
        namespaced=kind.resource.namespaced,
        check_name=_no_check if kind.name_check else names.dns1123_subdomain,
    )
    if kind.name_check and old is None and metadata.get("name"):
        found += kind.name_check(metadata["name"], "metadata.name")
    return found


def _no_check(_name: str) -> list[str]:
    return []


async def _validating(write: Write) -> None:
    for plugin in VALIDATING:
        await plugin(write)


STEPS: tuple[Step, ...] = (
    _decode,
    _identify,
    _default,
    _manage,
    _mutating,
    _default,
    _prepare,
    _validate,
    _validating,
    service.allocate,
)
