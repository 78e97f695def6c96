"""Namespace: where names live. Deleting one empties it first (controllers.namespace)."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.rules import label
from holdfast.kinds.kind import Column, Kind, Obj, Subresource
from holdfast.kinds.resources import NAMESPACES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, invalid


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        wanted = (new.get("spec") or {}).get("finalizers") or []
        new["spec"] = {"finalizers": [*wanted, *([] if "kubernetes" in wanted else ["kubernetes"])]}
        new["status"] = {"phase": "Active"}
    else:
        new.setdefault("spec", {})["finalizers"] = list((old.get("spec") or {}).get("finalizers") or [])


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for finalizer in (new.get("spec") or {}).get("finalizers") or []:
        found += [invalid("spec.finalizers", finalizer, text) for text in names.qualified_name(finalizer)]
        if "/" not in finalizer and finalizer != "kubernetes":
            text = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(invalid("spec.finalizers", finalizer, text))
    return found


def _finalizers(stored: Obj, written: Obj) -> None:
    stored.setdefault("spec", {})["finalizers"] = (written.get("spec") or {}).get("finalizers") or []


KIND = Kind(
    resource=NAMESPACES,
    schema=schema_of(CORE + "Namespace"),
    singular="namespace",
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    storage="namespaces",
    read_by="view",
    prepare=(_prepare,),
    checks=(_check,),
    name_check=lambda name, path: label(path, name),
    subresources={
        "finalize": Subresource("finalize", ("update",), part=_finalizers, checks=(_check,)),
        "status": Subresource("status", ("get", "patch", "update")),
    },
    columns=(NAME, Column("Status", at("status", "phase"), description="Active or Terminating."), AGE),
    selectable={"status.phase": lambda obj: str((obj.get("status") or {}).get("phase") or "")},
    has_generation=False,
)
