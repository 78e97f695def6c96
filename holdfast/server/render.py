"""Answers as bytes: plain JSON, Tables and metadata-only forms, chosen by the Accept header.

Lists are joined out of the cache's encoded objects: nothing is decoded unless a Table needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from holdfast.kinds.columns import SCALE
from holdfast.kinds.kind import Kind
from holdfast.machinery import errors, tables
from holdfast.registry.request import Event, Listing, Stored

JSON = "application/json"
HEADERS = "holdfast.headers"
"""Key under which a request carries the headers that each answer to it has."""
ACCEPTED = (JSON, "application/yaml", "application/vnd.kubernetes.protobuf")


@dataclass(frozen=True)
class Form:
    """``shape`` is "", Table, PartialObjectMetadata or PartialObjectMetadataList; ``include`` is a Table option."""

    shape: str = ""
    include: str = "Metadata"


@lru_cache(maxsize=256)
def negotiate(accept: str, include: str) -> Form:
    """The first acceptable form. Raises ApiError 406."""
    if not accept:
        return Form()
    for choice in accept.split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        options = dict(p.split("=", 1) for p in parameters if "=" in p)
        if media not in (JSON, "application/*", "*/*"):
            continue
        shape = options.get("as", "")
        if shape and (options.get("g") != "meta.k8s.io" or options.get("v") != "v1"):
            continue
        return Form(shape, include or "Metadata")
    raise errors.not_acceptable(ACCEPTED)


def one(kind: Kind, item: Stored, form: Form, now: float) -> bytes:
    if form.shape == "Table":
        meta = {"resourceVersion": item.obj["metadata"].get("resourceVersion", "")}
        return orjson.dumps(tables.render(kind.columns, [item.obj], now=now, include=form.include, list_meta=meta))
    if form.shape == "PartialObjectMetadata":
        return orjson.dumps(tables.partial(item.obj))
    return item.raw


def other(obj: dict[str, Any], form: Form, now: float) -> bytes:
    """An answer that is no object of the kind asked about: a Scale (which prints as a Table), a Status, a review."""
    if form.shape == "Table" and obj.get("kind") == "Scale":
        meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return orjson.dumps(tables.render(SCALE, [obj], now=now, include=form.include, list_meta=meta))
    return orjson.dumps(obj)


def many(kind: Kind, listing: Listing, form: Form, now: float) -> bytes:
    meta: dict[str, Any] = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        meta["continue"] = listing.continue_token
        if listing.remaining:
            meta["remainingItemCount"] = listing.remaining
    if form.shape == "Table":
        objects = [item.obj for item in listing.items]
        return orjson.dumps(tables.render(kind.columns, objects, now=now, include=form.include, list_meta=meta))
    if form.shape == "PartialObjectMetadataList":
        items = [tables.partial(item.obj) for item in listing.items]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        return orjson.dumps(head | {"items": items})
    resource = kind.resource
    encoded = orjson.dumps({"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": meta})
    return encoded[:-1] + b',"items":[' + b",".join(_untyped(kind, listing.items)) + b"]}"


def _untyped(kind: Kind, items: list[Stored]) -> Iterator[bytes]:
    """Items of a list do not say their type again, as upstream's do not: stored bytes begin with it."""
    head = b'{"kind":"%b","apiVersion":"%b",' % (kind.resource.kind.encode(), kind.resource.api_version.encode())
    for item in items:
        yield b"{" + item.raw[len(head) :] if item.raw.startswith(head) else item.raw


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
            items = [] if event.type == "BOOKMARK" else [obj]
            table = tables.render(kind.columns, items, now=now(), include=form.include, list_meta=meta)
            if not first:
                table["columnDefinitions"] = None
            first = False
            return orjson.dumps({"type": event.type, "object": table}) + b"\n"
        return b'{"type":"%b","object":%b}\n' % (event.type.encode(), one(kind, event.stored, form, now()))

    return render
