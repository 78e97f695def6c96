"""Small questions about any object, and the checks of ObjectMeta that every kind shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid, required, too_long

Obj = dict[str, Any]
ANNOTATIONS_LIMIT = 256 * 1024
STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_EMPTY = "must not be empty"


def name(obj: Obj) -> str:
    return str(obj["metadata"].get("name") or "")


def namespace(obj: Obj) -> str:
    return str(obj["metadata"].get("namespace") or "")


def uid(obj: Obj) -> str:
    return str(obj["metadata"].get("uid") or "")


def key(obj: Obj) -> str:
    """``namespace/name``, or ``name`` for cluster-scoped objects."""
    return f"{namespace(obj)}/{name(obj)}" if namespace(obj) else name(obj)


def split_key(text: str) -> tuple[str, str]:
    """(namespace, name) of a ``key``."""
    first, slash, second = text.partition("/")
    return (first, second) if slash else ("", first)


def labels_of(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def revision(obj: Obj) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)


def is_terminating(obj: Obj) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference marked as controller."""
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            found: Obj = reference
            return found
    return None


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == uid(owner)


def owner_reference(owner: Obj, *, controller: bool = True, block: bool = True) -> Obj:
    reference: Obj = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name(owner), "uid": uid(owner)}
    if controller:
        reference["controller"] = True
    reference["blockOwnerDeletion"] = block
    return reference


def condition(obj: Obj, kind: str) -> Obj | None:
    for entry in (obj.get("status") or {}).get("conditions") or []:
        if entry.get("type") == kind:
            found: Obj = entry
            return found
    return None


def condition_true(obj: Obj, kind: str) -> bool:
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def check_meta(
    meta: Obj, old: Obj | None, *, namespaced: bool, check_name: Callable[[str], list[str]] = names.dns1123_subdomain
) -> list[FieldError]:
    """Faults of ``metadata``; on update (``old``) also of what must not change."""
    found: list[FieldError] = []
    if not meta.get("name"):
        found.append(required("metadata.name", "name or generateName is required"))
    elif old is None:
        found += [invalid("metadata.name", meta["name"], text) for text in check_name(meta["name"])]
    if namespaced and meta.get("namespace") and old is None:
        found += [invalid("metadata.namespace", meta["namespace"], t) for t in names.dns1123_label(meta["namespace"])]
    for field, check in _CHECKS:
        if value := meta.get(field):
            found += check(value, f"metadata.{field}")
    if old is not None:
        found += _immutable(meta, old, "metadata")
    return found


def _finalizers(finalizers: list[str], path: str) -> list[FieldError]:
    found = [invalid(path, finalizer, text) for finalizer in finalizers for text in names.qualified_name(finalizer)]
    for position, finalizer in enumerate(finalizers):
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(invalid(index(path, position), finalizer, text))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        found.append(invalid(path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set"))
    return found


def check_labels(pairs: Mapping[str, str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for label, value in pairs.items():
        found += [invalid(path, label, text) for text in names.qualified_name(label)]
        found += [invalid(path, value, text) for text in names.label_value(value)]
    return found


def _annotations(pairs: Mapping[str, str], path: str) -> list[FieldError]:
    found = [invalid(path, label, text) for label in pairs for text in names.qualified_name(label.lower())]
    if sum(len(k.encode()) + len(v.encode()) for k, v in pairs.items()) > ANNOTATIONS_LIMIT:
        found.append(too_long(path, "", ANNOTATIONS_LIMIT))
    return found


def _owners(references: list[Obj], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for reference in references:
        version = reference.get("apiVersion") or ""
        if not version or version.count("/") > 1:
            found.append(invalid(child(path, "apiVersion"), version, f"version {_EMPTY}"))
        found += [invalid(child(path, field), "", _EMPTY) for field in ("kind", "name", "uid") if not reference.get(field)]
        if (version, reference.get("kind")) == ("v1", "Event"):
            found.append(invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner"))
    controllers = [r for r in references if r.get("controller")]
    if len(controllers) > 1:
        one, two = (f"{r.get('kind')}/{r.get('name')}" for r in controllers[:2])
        text = f'Only one reference can have Controller set to true. Found "true" in references for {one} and {two}'
        found.append(invalid(path, references, text))
    return found


_CHECKS: tuple[tuple[str, Callable[[Any, str], list[FieldError]]], ...] = (
    ("labels", check_labels),
    ("annotations", _annotations),
    ("ownerReferences", _owners),
    ("finalizers", _finalizers),
)


def _immutable(meta: Obj, old: Obj, path: str) -> list[FieldError]:
    found = [
        invalid(child(path, field), meta.get(field), "field is immutable") for field in _FIXED if meta.get(field) != old.get(field)
    ]
    if old.get("deletionTimestamp"):
        extra = sorted(set(meta.get("finalizers") or []) - set(old.get("finalizers") or []))
        if extra:
            listed = ", ".join(f'"{name}"' for name in extra)
            found.append(
                forbidden(
                    child(path, "finalizers"),
                    f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}",
                )
            )
    return found
