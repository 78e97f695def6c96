"""ControllerRevisions: the history of a set's template, byte for byte as Kubernetes writes it.

The name carries a hash of the bytes, and ``kubectl rollout undo`` compares bytes: so the encoding is
Go's (sorted keys, HTML characters escaped). Equality is semantic: an upgrade that only encodes
differently rolls nothing (R-48).
"""

from __future__ import annotations

import json
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import meta, names
from holdfast.machinery.default import apply_defaults

TEMPLATE = "io.k8s.api.core.v1.PodTemplateSpec"
HASH = "controller.kubernetes.io/hash"
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def go_json(value: Any) -> str:
    """JSON text as Go's encoder writes a map."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char, escape in _ESCAPES.items():
        text = text.replace(char, escape)
    return text


def data_of(owner: Obj) -> Obj:
    """What a revision remembers: the template, as a patch that replaces it."""
    data: Obj = _in_order({"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}})
    return data


def _in_order(value: Any) -> Any:
    """A copy with sorted keys: the API serves opaque data as it was written."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def template_of(revision: Obj) -> Obj:
    template: Obj = {k: v for k, v in revision["data"]["spec"]["template"].items() if k != "$patch"}
    return template


def hash_of(data: Obj, collisions: int) -> str:
    return names.safe_encode(str(names.fnv32(go_json(data).encode() + str(collisions).encode())))


def build(owner: Obj, number: int, collisions: int) -> Obj:
    """The revision of the set's present template."""
    data = data_of(owner)
    digest = hash_of(data, collisions)
    metadata: Obj = {
        "name": f"{meta.name(owner)}-{digest}",
        "namespace": meta.namespace(owner),
        "labels": {**((owner["spec"]["template"].get("metadata") or {}).get("labels") or {}), HASH: digest},
        "ownerReferences": [meta.owner_reference(owner)],
    }
    if meta.annotations_of(owner):
        metadata["annotations"] = dict(meta.annotations_of(owner))
    return {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "data": data, "revision": number}


def in_order(revisions: list[Obj]) -> list[Obj]:
    """Oldest first; equal numbers by age, then by name (R-37: a stable choice)."""
    return sorted(revisions, key=lambda r: (r.get("revision", 0), r["metadata"].get("creationTimestamp", ""), meta.name(r)))


def raised(revisions: list[Obj]) -> list[tuple[Obj, int]]:
    """Who gets which other number so that no two have one: numbers only rise, the newest first, so none is taken on the way."""
    changed, last = [], -1
    for revision in in_order(revisions):
        last = max(revision.get("revision", 0), last + 1)
        if last != revision.get("revision", 0):
            changed.append((revision, last))
    return changed[::-1]


def equal(one: Obj, other: Obj) -> bool:
    """Of meaning, not of bytes: another version may write nulls and empty lists, and know fewer defaults (R-48)."""
    return bool(one["data"] == other["data"] or _meaning(one["data"]) == _meaning(other["data"]))


def find(ordered: list[Obj], wanted: Obj) -> Obj | None:
    """The newest of ``ordered`` that is equal to ``wanted``: mostly the newest of all, which costs one look."""
    return next((revision for revision in reversed(ordered) if equal(revision, wanted)), None)


def _meaning(data: Obj) -> Any:
    template = _said((data.get("spec") or {}).get("template") or {})
    apply_defaults(schema_of(TEMPLATE), template)
    return _said({**data, "spec": {**(data.get("spec") or {}), "template": template}})


def _said(value: Any) -> Any:
    """A copy without what says nothing."""
    if isinstance(value, dict):
        return {key: _said(inner) for key, inner in value.items() if inner is not None and inner != []}
    return [_said(inner) for inner in value] if isinstance(value, list) else value


def surplus(revisions: list[Obj], live: set[str], limit: int) -> list[Obj]:
    """Revisions beyond the history limit, oldest first; live ones never (negative limit: keep all)."""
    idle = [r for r in in_order(revisions) if meta.name(r) not in live]
    return idle[: max(len(idle) - limit, 0)] if limit >= 0 else []
