"""The way of a write, as one ordered tuple: decode > default > admit > default > prepare > validate > admit.

Authorization stands before it and the commit behind it (``registry.registry``, ``registry.verbs``). Update
and patch walk it again at each conflict retry.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors, names
from holdfast.machinery.decode import decode
from holdfast.machinery.default import apply_defaults
from holdfast.machinery.meta import check_meta
from holdfast.machinery.validate import validate
from holdfast.registry.admission import MUTATING, VALIDATING
from holdfast.registry.request import Request

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry


@dataclass
class Write:
    """One object on its way to the store. ``old`` is None on create; ``new`` is the pipeline's own copy."""

    registry: Registry
    request: Request
    new: Obj
    old: Obj | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        return self.request.kind


Step = Callable[[Write], Awaitable[None]]


async def walk(write: Write) -> None:
    for step in STEPS:
        await step(write)


async def _decode(write: Write) -> None:
    """Types, unknown fields, and that the body is what the URL says."""
    request, resource = write.request, write.kind.resource
    body: Any = write.new
    if not isinstance(body, dict):
        raise errors.bad_request("the request body is not an object")
    given = (body.get("apiVersion") or resource.api_version, body.get("kind") or resource.kind)
    if given != (resource.api_version, resource.kind):
        raise errors.bad_request(
            f'{given[1]} in version "{given[0]}" cannot be handled as a {resource.kind}: converting is not possible'
        )
    new, unknown = decode(write.kind.schema, body)
    new["kind"], new["apiVersion"] = resource.kind, resource.api_version
    new.setdefault("metadata", {})
    if unknown:
        how = request.options.get("fieldValidation") or "Warn"
        texts = [f'unknown field "{path}"' for path in unknown]
        if how == "Strict":
            where = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise errors.bad_request(f"{where}: strict decoding error: {', '.join(texts)}")
        if how == "Warn":
            write.warnings += texts
    _address(request, new)
    write.new = new


def _address(request: Request, new: Obj) -> None:
    metadata = new["metadata"]
    if request.kind.resource.namespaced:
        namespace = metadata.setdefault("namespace", request.namespace)
        if namespace != request.namespace:
            raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
    else:
        metadata.pop("namespace", None)
    if request.name and metadata.get("name") and metadata["name"] != request.name:
        raise errors.bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL ({request.name})")
    if request.name:
        metadata["name"] = request.name


async def _default(write: Write) -> None:
    apply_defaults(write.kind.schema, write.new)


async def _mutating(write: Write) -> None:
    for act in MUTATING:
        await act(write)


async def _prepare(write: Write) -> None:
    """What the server owns: identity, generation, and which half a write may touch."""
    new, old, kind = write.new, write.old, write.kind
    if old is None:
        _identify(write)
    else:
        _keep(write, old)
    if write.request.subresource == "status":
        return
    if old is not None and kind.has_status and write.request.subresource != "resize":
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    for act in kind.prepare:
        act(new, old)
    if old is None and kind.has_generation:
        new["metadata"]["generation"] = 1
    elif old is not None and kind.has_generation:
        same = _rest(new) == _rest(old)
        new["metadata"]["generation"] = old["metadata"].get("generation", 1) + (0 if same else 1)


def _rest(obj: Obj) -> Obj:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def _identify(write: Write) -> None:
    metadata = write.new["metadata"]
    if metadata.get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    for field_name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"):
        metadata.pop(field_name, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = names.generate_name(metadata["generateName"])
    metadata["uid"] = write.registry.new_uid()
    metadata["creationTimestamp"] = write.registry.timestamp()


def _keep(write: Write, old: Obj) -> None:
    metadata, before = write.new["metadata"], old["metadata"]
    if metadata.get("uid") and metadata["uid"] != before["uid"]:
        resource = write.kind.resource
        text = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before['uid']}"
        raise errors.conflict(resource.plural, before["name"], text, resource.group)
    for field_name in (
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "name",
        "namespace",
    ):
        if field_name in before:
            metadata[field_name] = before[field_name]
        else:
            metadata.pop(field_name, None)
    if write.request.subresource == "status":
        # A status write keeps everything else as it is stored.
        status = write.new.get("status")
        kept = {name: value for name, value in old.items() if name != "status"}
        revision = metadata.get("resourceVersion")
        write.new = kept | {"metadata": dict(before)} | ({"status": status} if status is not None else {})
        if revision:
            write.new["metadata"]["resourceVersion"] = revision


async def _validate(write: Write) -> None:
    kind, new, old = write.kind, write.new, write.old
    resource = kind.resource
    check_name = kind.name_check
    found = check_meta(
        new["metadata"],
        old["metadata"] if old else None,
        namespaced=resource.namespaced,
        check_name=(lambda _name: []) if check_name else names.dns1123_subdomain,
    )
    name = new["metadata"].get("name", "")
    if check_name and old is None and name:
        found += check_name(name, "metadata.name")
    if write.request.subresource == "status":
        for check in kind.status_checks:
            found += check(new, old, "")
    else:
        found += validate(kind.schema, new, old)
        for check in kind.checks:
            found += check(new, old, "")
    if found:
        raise errors.invalid(resource.kind, name, found, resource.group)


async def _validating(write: Write) -> None:
    for act in VALIDATING:
        await act(write)


STEPS: tuple[Step, ...] = (_decode, _default, _mutating, _default, _prepare, _validate, _validating)
