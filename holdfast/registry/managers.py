"""managedFields: who set which field. Updates take what they change; applies take what they say and must not take more.

An entry of ``metadata.managedFields`` is kept as it is on the wire; a manager is its name, operation, subresource and,
for updates, API version. ``updated`` is the pipeline's step for creates, updates and patches; ``applied`` is what
``verbs.apply`` does before it walks the pipeline. Rules: KEP-555, and the field manager of the API server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import typed
from holdfast.machinery.errors import ApiError
from holdfast.machinery.fields import Fields, difference, intersection, members, union
from holdfast.registry.request import Request

APPLY, UPDATE = "Apply", "Update"
BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT = "ancient-changes"
MAX_UPDATERS = 10
KUBECTL = "kubectl"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_NAME_LIMIT = 128
_UNTRACKED = ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion")


@dataclass(frozen=True)
class Manager:
    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def owns(self, entry: Obj) -> bool:
        return (
            entry.get("manager", "") == self.name
            and entry.get("operation") == self.operation
            and entry.get("subresource", "") == self.subresource
            and (self.operation == APPLY or entry.get("apiVersion") == self.api_version)
        )

    def entry(self, fields: Fields, time: str) -> Obj:
        out: Obj = {"manager": self.name, "operation": self.operation, "apiVersion": self.api_version}
        if time:
            out["time"] = time
        out |= {"fieldsType": "FieldsV1", "fieldsV1": fields}
        if self.subresource:
            out["subresource"] = self.subresource
        return out


def manager_of(request: Request, operation: str = UPDATE) -> Manager:
    """By the query's fieldManager, else the part of the User-Agent before its first slash."""
    name = request.options.get("fieldManager") or _program(request.user_agent)
    return Manager(name, operation, request.kind.resource.api_version, request.subresource or request.via)


@lru_cache(maxsize=256)
def _program(user_agent: str) -> str:
    printable = "".join(char for char in user_agent.partition("/")[0] if char.isprintable())
    return printable.encode()[:_NAME_LIMIT].decode(errors="ignore") or "unknown"


def tracked(kind: Kind, obj: Obj, *, status: bool) -> Obj:
    """What managers can own of an object: not its type and identity; the status only through its subresource."""
    out = {name: value for name, value in obj.items() if name not in ("kind", "apiVersion")}
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        out["metadata"] = {name: value for name, value in metadata.items() if name not in _UNTRACKED}
        if not out["metadata"]:
            del out["metadata"]
    if kind.has_status and not status:
        out.pop("status", None)
    return out


def base(given: Any, live: list[Obj]) -> list[Obj]:
    """The entries to go on from: those that the request carries when they are well-formed, else the stored ones.

    ``[{}]`` forgets them all, as upstream lets a client do.
    """
    if given == [{}]:
        return []
    if isinstance(given, list) and given and all(map(_well_formed, given)):
        return given
    return live


def _well_formed(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("operation") in (APPLY, UPDATE)
        and bool(entry.get("apiVersion"))
        and entry.get("fieldsType") == "FieldsV1"
        and _fields(entry.get("fieldsV1"))
    )


def _fields(tree: Any) -> bool:
    return (
        isinstance(tree, dict)
        and all(name == "." or (name[1:2] == ":" and name[0] in "fkvi") for name in tree)
        and all(map(_fields, tree.values()))
    )


def updated(kind: Kind, entries: list[Obj], old: Obj | None, new: Obj, who: Manager, now: str) -> list[Obj]:
    """The entries after ``who`` made ``new`` out of ``old`` (None: created it)."""
    if old is not None and not entries:
        return entries  # nobody ever looked after this object's fields: an update does not begin to
    status = who.subresource == "status"
    before = tracked(kind, old, status=status) if old is not None else {}
    after = tracked(kind, new, status=status)
    if who.subresource == "scale":
        before, after = _as_scaled(kind, before), _as_scaled(kind, after)
    changed, removed = typed.compare(kind.schema, before, after)
    if changed is None and removed is None:
        return entries
    out = []
    mine: Fields | None = None
    time = now
    for entry in entries:
        left = difference(difference(entry["fieldsV1"], changed), removed)
        if who.owns(entry):
            mine, time = left, time if changed is not None else entry.get("time", "")
        elif left is not None:
            out.append(entry if left == entry["fieldsV1"] else {**entry, "fieldsV1": left})
    mine = union(mine, changed)
    if mine is not None:
        out.append(who.entry(mine, time))
    return _sorted(_capped(out, now))


def _as_scaled(kind: Kind, obj: Obj) -> Obj:
    """A Scale does not show a zero: who scales to nothing says nothing, and owns it no more."""
    way = kind.subresources["scale"].replicas_path
    out = place = dict(obj)
    for step in way[:-1]:
        place[step] = dict(place.get(step) or {})
        place = place[step]
    if place.get(way[-1]) == 0:
        del place[way[-1]]
    return out


def _capped(entries: list[Obj], now: str) -> list[Obj]:
    """At most so many updaters: the oldest are thrown together."""
    if len(entries) <= MAX_UPDATERS:
        return entries
    updaters = sorted((e for e in entries if e["operation"] == UPDATE), key=lambda e: (e.get("time", ""), e.get("manager", "")))
    surplus = len(updaters) - MAX_UPDATERS
    if surplus <= 0:
        return entries
    old = updaters[: surplus + 1]
    kept = [e for e in entries if not any(e is one for one in old)]
    by_version: dict[str, Fields | None] = {}
    for entry in old:
        by_version[entry["apiVersion"]] = union(by_version.get(entry["apiVersion"]), entry["fieldsV1"])
    return kept + [Manager(ANCIENT, UPDATE, version).entry(fields or {}, now) for version, fields in by_version.items()]


def _sorted(entries: list[Obj]) -> list[Obj]:
    if len(entries) < 2:
        return entries

    def order(entry: Obj) -> tuple[str, ...]:
        names = ("operation", "time", "manager", "apiVersion", "subresource")
        return tuple(str(entry.get(name) or "") for name in names)

    return sorted(entries, key=order)


def same_but_for_times(one: list[Obj], two: list[Obj]) -> bool:
    """A write that would change nothing else than when somebody last wrote changes nothing."""
    if len(one) != len(two):
        return False

    def bare(entries: list[Obj]) -> list[bytes]:
        cut = ({name: value for name, value in entry.items() if name != "time"} for entry in entries)
        return sorted(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) for entry in cut)

    return one == two or bare(one) == bare(two)


# Server-side apply.


@dataclass(frozen=True)
class _Conflict:
    manager: str
    """As upstream prints it."""
    fields: Fields


def applied(kind: Kind, live: Obj | None, config: Obj, who: Manager, now: str, *, force: bool) -> tuple[Obj, list[Obj]]:
    """The object after ``who`` applied ``config``, before defaults and admission, and its managedFields.

    Raises ApiError 409 naming the managers in the way, UntypedError for a configuration that breaks the schema.
    """
    status = who.subresource == "status"
    wanted = typed.fields_of(kind.schema, tracked(kind, config, status=True))
    wanted = _own_half(kind, wanted, status=status)
    entries = _entries_before(kind, live, now)
    others = [entry for entry in entries if not who.owns(entry)]
    mine = next((entry for entry in entries if who.owns(entry)), None)
    merged = typed.merge(kind.schema, live, config) if live is not None else config
    if mine is not None:
        merged = _pruned(kind, merged, mine["fieldsV1"], wanted, others)
    before = tracked(kind, live, status=status) if live is not None else {}
    changed, removed = typed.compare(kind.schema, before, tracked(kind, merged, status=status))
    conflicts = [_Conflict(_shown(e), both) for e in others if (both := intersection(e["fieldsV1"], changed)) is not None]
    if conflicts and not force:
        left = _not_upgraded(kind, conflicts, live, who)
        if left:
            raise _refusal(left)
    out = [
        {**entry, "fieldsV1": left}
        for entry in others
        if (left := difference(difference(entry["fieldsV1"], changed), removed)) is not None  # type: ignore[assignment]
    ]
    if wanted is not None:
        moved = changed is not None or removed is not None
        out.append(who.entry(wanted, now if moved else (mine or {}).get("time", "")))
    return merged, _sorted(out)


def _own_half(kind: Kind, fields: Fields | None, *, status: bool) -> Fields | None:
    """Only what the resource or subresource that was asked lets a client write."""
    if not kind.has_status or fields is None:
        return fields
    if status:
        return {name: below for name, below in fields.items() if name in ("f:status", "f:metadata")} or None
    return {name: below for name, below in fields.items() if name != "f:status"} or None


def _entries_before(kind: Kind, live: Obj | None, now: str) -> list[Obj]:
    """The stored entries; an object without any is taken as one manager's who was there before."""
    if live is None:
        return []
    entries: list[Obj] = live["metadata"].get("managedFields") or []
    if entries:
        return entries
    fields, _ = typed.compare(kind.schema, {}, tracked(kind, live, status=True))
    return [Manager(BEFORE_FIRST_APPLY, UPDATE, kind.resource.api_version).entry(fields, now)] if fields else []


def _pruned(kind: Kind, merged: Obj, last: Fields, wanted: Fields | None, others: Iterable[Obj]) -> Obj:
    """Without what ``last`` was said to be there, is not said any more, and nobody else wants."""
    schema = kind.schema
    owned = union(wanted, {"f:metadata": {}})
    for entry in others:
        owned = union(owned, entry["fieldsV1"])
    dropped = difference(typed.with_named(schema, last), typed.with_named(schema, owned))
    kept: Obj = merged if dropped is None else typed.remove(schema, merged, dropped)
    return kept


def _not_upgraded(kind: Kind, conflicts: list[_Conflict], live: Obj | None, who: Manager) -> list[_Conflict]:
    """kubectl, when it goes over from client-side to server-side apply, may take what its annotation says it had set."""
    annotations = ((live or {}).get("metadata") or {}).get("annotations") or {}
    if who.name != KUBECTL or LAST_APPLIED not in annotations:
        return conflicts
    try:
        last = orjson.loads(annotations[LAST_APPLIED])
        allowed = typed.fields_of(kind.schema, tracked(kind, last, status=True))
    except (orjson.JSONDecodeError, AttributeError, typed.UntypedError):
        return conflicts
    left = ((each.manager, difference(each.fields, allowed)) for each in conflicts)
    return [_Conflict(manager, fields) for manager, fields in left if fields is not None]


def with_last_applied(merged: Obj, config: Obj, who: Manager) -> None:
    """Keeps the annotation of client-side apply true, so that going back is possible. ``merged`` is the caller's own."""
    annotations = merged["metadata"].get("annotations") or {}
    if who.name == KUBECTL and LAST_APPLIED in annotations:
        text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode() + "\n"
        merged["metadata"] = merged["metadata"] | {"annotations": annotations | {LAST_APPLIED: text}}


def _shown(entry: Obj) -> str:
    text = orjson.dumps(entry.get("manager", "")).decode()
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return text if entry["operation"] == APPLY else f"{text} using {entry['apiVersion']}"


def _refusal(conflicts: list[_Conflict]) -> ApiError:
    found = [(each.manager, path) for each in conflicts for path in members(each.fields)]
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path} for manager, path in found]
    if len(found) == 1:
        text = f"1 conflict: conflict with {found[0][0]}: {found[0][1]}"
    else:
        names = sorted({manager for manager, _ in found})
        lists = ("\n".join(f"- {path}" for manager, path in found if manager == name) for name in names)
        parts = (f"conflicts with {name}:\n{paths}" for name, paths in zip(names, lists, strict=True))
        text = f"{len(found)} conflicts: " + "\n".join(parts)
    return ApiError(409, "Conflict", f"Apply failed with {text}", {"causes": causes})
