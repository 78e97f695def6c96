"""Answers as bytes: plain JSON, Tables and metadata-only forms, chosen by the Accept header.

Lists are joined out of the cache's encoded objects: nothing is decoded unless a Table needs it. Long ones come in parts
that each take some milliseconds to make, so that others have their turn in between (``answer.LongAnswer``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
import yaml
from aiohttp import web

from holdfast.kinds.columns import SCALE
from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors, tables
from holdfast.machinery.errors import ApiError
from holdfast.registry.request import Event, Listing, Stored

JSON = "application/json"
YAML = "application/yaml"
HEADERS = web.RequestKey("headers", dict[str, str])
"""Key under which a request carries the headers that each answer to it has."""
ACCEPTED = (JSON, YAML, "application/vnd.kubernetes.protobuf")

_PART_BYTES = 1 << 20
_PART_ITEMS = 1000
_PART_ITEMS_DECODED = 500
_PART_ITEMS_YAML = 16
"""How much of a list is made at a time: what is passed on as it is, what is decoded for it, and what is written anew."""
_INDENTED = orjson.OPT_INDENT_2
_HUMAN_AGENTS = ("curl", "Wget", "Mozilla/5.0")
"""Programs whose user reads the answer himself."""


@dataclass(frozen=True)
class Form:
    """``shape`` is "", Table, PartialObjectMetadata or PartialObjectMetadataList; ``include`` is a Table option."""

    shape: str = ""
    include: str = "Metadata"
    version: str = "v1"
    """Of meta.k8s.io, for Tables and metadata-only forms."""
    media: str = JSON
    pretty: bool = False

    @property
    def api_version(self) -> str:
        return f"meta.k8s.io/{self.version}"


@lru_cache(maxsize=256)
def negotiate(accept: str, include: str, agent: str = "", pretty: str = "") -> Form:
    """The first acceptable form. Raises ApiError 406, or 400 for a Table option that there is not."""
    indented = pretty.lower() not in ("", "0", "false") or (not pretty and agent.startswith(_HUMAN_AGENTS))
    if not accept:
        return Form(pretty=indented)
    unknown = False
    for choice in accept.split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        options = dict(p.split("=", 1) for p in parameters if "=" in p)
        shape = options.get("as", "")
        if media == YAML and not shape:
            return Form(media=YAML)
        if media not in (JSON, "*/*"):
            continue
        if shape and (options.get("g") != "meta.k8s.io" or options.get("v") not in ("v1", "v1beta1")):
            unknown = True
            continue
        if shape == "Table" and include not in ("", "None", "Metadata", "Object"):
            why = f"includeObject: Invalid value: {json.dumps(include)}: must be 'Metadata', 'Object', 'None', or empty"
            raise errors.bad_request(f"Unable to convert to Table as requested: {why}")
        return Form(shape, include or "Metadata", options.get("v", "v1") if shape else "v1", pretty=indented)
    if unknown:
        raise errors.not_acceptable(ACCEPTED)
    raise ApiError(406, "NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {', '.join(ACCEPTED)}", {})


def finished(data: bytes, form: Form) -> bytes:
    """The JSON of an answer as it was asked for: compact, indented, or as YAML."""
    if form.media == YAML:
        return _yaml(orjson.loads(data))
    if form.pretty:
        return orjson.dumps(orjson.loads(data), option=_INDENTED | orjson.OPT_APPEND_NEWLINE)
    return data + b"\n"


def _yaml(document: Any) -> bytes:
    text: bytes = yaml.dump(document, Dumper=yaml.CSafeDumper, encoding="utf-8", allow_unicode=True)
    return text


def _mismatch(kind: Kind, form: Form, *, listing: bool) -> ApiError:
    group = kind.resource.group.partition(".")[0] or "core"
    name = f"*{group}.{kind.resource.kind}{'List' if listing else ''}"
    why = f"is a list ({name})" if listing else f"is not a list ({name})"
    return ApiError(406, "NotAcceptable", f"you requested {form.shape}, but the requested object {why}")


def one(kind: Kind, item: Stored, form: Form, now: float) -> bytes:
    if form.shape == "Table":
        meta = {"resourceVersion": item.obj["metadata"].get("resourceVersion", "")}
        return orjson.dumps(_table(kind, [item.obj], form, now, meta))
    if form.shape == "PartialObjectMetadata":
        return orjson.dumps(tables.partial(item.obj, form.api_version))
    if form.shape == "PartialObjectMetadataList":
        raise _mismatch(kind, form, listing=False)
    return item.raw


def _table(kind: Kind, objects: list[Obj], form: Form, now: float, meta: dict[str, Any]) -> dict[str, Any]:
    return tables.render(kind.columns, objects, now=now, include=form.include, list_meta=meta, api_version=form.api_version)


def other(obj: dict[str, Any], form: Form, now: float) -> bytes:
    """An answer that is no object of the kind asked about: a Scale (which prints as a Table), a Status, a review."""
    if form.shape == "Table" and obj.get("kind") == "Scale":
        meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return orjson.dumps(tables.render(SCALE, [obj], now=now, include=form.include, list_meta=meta))
    return orjson.dumps(obj)


def many(kind: Kind, listing: Listing, form: Form, now: float) -> Iterator[bytes]:
    """A list as it was asked for, ready to send, in parts; mostly one."""
    head, member = _frame(kind, listing, form, now)
    if not listing.items:
        yield finished(orjson.dumps(head | {member: []}), form)
        return
    if form.media == YAML:
        begin, between, end = _yaml(head) + b"%b:\n" % member.encode(), b"", b""
    elif form.pretty:
        begin = orjson.dumps(head, option=_INDENTED).removesuffix(b"\n}") + b',\n  "%b": [' % member.encode()
        between, end = b",", b"\n  ]\n}\n"
    else:
        begin, between, end = orjson.dumps(head)[:-1] + b',"%b":[' % member.encode(), b",", b"]}\n"
    data, begun = begin, False
    for part in _parts(listing.items, form):
        if begun:
            yield data
            data = between
        data += _written(kind, part, form, now)
        begun = True
    yield data + end


def _frame(kind: Kind, listing: Listing, form: Form, now: float) -> tuple[dict[str, Any], str]:
    """All of a list but its items, and under which name they stand in it."""
    meta: dict[str, Any] = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        meta["continue"] = listing.continue_token
        if listing.remaining:
            meta["remainingItemCount"] = listing.remaining
    if form.shape == "Table":
        table = _table(kind, [], form, now, meta)
        del table["rows"]
        return table, "rows"
    if form.shape == "PartialObjectMetadata":
        raise _mismatch(kind, form, listing=True)
    if form.shape == "PartialObjectMetadataList":
        return {"kind": "PartialObjectMetadataList", "apiVersion": form.api_version, "metadata": meta}, "items"
    resource = kind.resource
    return {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta}, "items"


def _parts(items: list[Stored], form: Form) -> Iterator[list[Stored]]:
    decoded = bool(form.shape) or form.pretty
    most = _PART_ITEMS_YAML if form.media == YAML else _PART_ITEMS_DECODED if decoded else _PART_ITEMS
    begin = size = 0
    for end, item in enumerate(items, 1):
        size += len(item.raw)
        if end - begin >= most or size >= _PART_BYTES:
            yield items[begin:end]
            begin, size = end, 0
    if begin < len(items):
        yield items[begin:]


def _written(kind: Kind, items: list[Stored], form: Form, now: float) -> bytes:
    """Some members of a list, without what stands around and between such parts."""
    if not form.shape and not form.pretty and form.media == JSON:
        return b",".join(_untyped(kind, items))
    members: list[Any]
    if form.shape == "Table":
        members = _table(kind, [item.peek() for item in items], form, now, {})["rows"]
    elif form.shape:
        members = [tables.partial(item.peek(), form.api_version) for item in items]
    else:
        members = [orjson.loads(raw) for raw in _untyped(kind, items)]
    if form.media == YAML:
        return _yaml(members)
    if form.pretty:  # as deep as it stands in a document
        return orjson.dumps({"": members}, option=_INDENTED).removeprefix(b'{\n  "": [').removesuffix(b"\n  ]\n}")
    return orjson.dumps(members)[1:-1]


def _untyped(kind: Kind, items: list[Stored]) -> Iterator[bytes]:
    """Items of a list do not say their type again, as upstream's do not: stored bytes begin with it."""
    head = b'{"kind":"%b","apiVersion":"%b",' % (kind.resource.kind.encode(), kind.resource.api_version.encode())
    for item in items:
        yield b"{" + item.raw[len(head) :] if item.raw.startswith(head) else item.raw


def batched(events: Iterator[bytes]) -> Iterator[bytes]:
    """Rendered events joined, no more at a time than a slow watcher may keep waiting in memory."""
    data: list[bytes] = []
    size = 0
    for event in events:
        data.append(event)
        size += len(event)
        if size >= _PART_BYTES:
            yield b"".join(data)
            data, size = [], 0
    if data:
        yield b"".join(data)


def events(kind: Kind, form: Form, now: Callable[[], float]) -> Callable[[Event], bytes]:
    """A renderer of watch events; a Table's first one carries the column definitions."""
    first = True

    def render(event: Event) -> bytes:
        nonlocal first
        if event.type == "BOOKMARK" and form.shape != "Table":
            return b'{"type":"BOOKMARK","object":' + event.stored.raw + b"}\n"
        if form.shape == "Table":
            obj = event.stored.obj
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            bookmark = event.type == "BOOKMARK"
            table = _table(kind, [] if bookmark else [obj], form, now(), meta)
            if bookmark:  # the row carries what the bookmark says; it has nothing to print
                row = tables.partial(obj, form.api_version) if form.include == "Metadata" else None
                table["rows"] = [{"cells": [""] * len(kind.columns), "object": row}]
            if not first:
                table["columnDefinitions"] = None
            first = False
            return orjson.dumps({"type": event.type, "object": table}) + b"\n"
        return b'{"type":"%b","object":%b}\n' % (event.type.encode(), one(kind, event.stored, form, now()))

    return render
