"""From a request's body to a tree: read within limits, then JSON, YAML or protobuf by its Content-Type.

A body is the one part of a request that its sender can make as large and as crooked as he likes. So nothing is
inflated, YAML goes without aliases and with bounded nodes and depth, and what takes long is parsed off the event
loop. What a kind makes of the tree is decided in ``machinery.decode``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import yaml
from aiohttp import web

from holdfast.client.api import APPLY_PATCH
from holdfast.machinery import errors, wire
from holdfast.machinery.decode import MAX_DEPTH, NotJsonError, duplicate_fields, parse_json
from holdfast.machinery.errors import ApiError
from holdfast.machinery.jsonfault import TRUNCATED

LIMIT = 3 * 1024 * 1024
MAX_NODES = 200_000
"""Of a YAML text: parsing one costs ten times what JSON costs."""
MAX_DIGITS = 400
"""Of a number in YAML: a double has no use for more, and long ones are slow to read."""
OFF_LOOP_FROM = 32 * 1024
TYPES = ("application/json", "application/yaml", wire.MEDIA_TYPE)
_TEXT_LIMIT = 300
_SHOWN = 30
_GO_NAMES = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_TYPE_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_YAML = "tag:yaml.org,2002:"


async def tree(request: web.BaseRequest) -> tuple[bytes, Any]:
    """The body as it came and what it says; (b"", None) without one. Raises ApiError 400, 413 or 415."""
    raw = await _read(request)
    if not raw:
        return b"", None
    media = media_type(request)
    if request.method == "PATCH":
        return raw, await _patch(media, raw)
    return raw, await _parse(media, raw)


async def of_kind(request: web.BaseRequest, kind: str) -> tuple[bytes, dict[str, Any]]:
    """As ``tree``, for a body that must be an object; says of which ``kind`` when it is none."""
    raw = await _read(request)
    fault = TRUNCATED
    if raw:
        try:
            body = await _parse(media_type(request), raw)
        except NotJsonError as error:
            fault = error.fault
        else:
            if isinstance(body, dict):
                return raw, body
            fault = f"json: cannot unmarshal {_GO_NAMES.get(type(body), 'value')} into Go value of type {_TYPE_META}"
    why = f"couldn't get version/kind; json parse error: {fault} ({_summary(raw)})"
    raise errors.bad_request(f"the object provided is unrecognized (must be of type {kind}): {why}")


def _summary(raw: bytes) -> str:
    if not raw:
        return "<empty>"
    cut = raw[:_SHOWN]
    return (cut.decode(errors="replace") if raw.startswith(b"{") else cut.hex()) + (" ..." if len(raw) > _SHOWN else "")


async def _patch(media: str, raw: bytes) -> Any:
    if media != APPLY_PATCH and not media.endswith("+json"):
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    try:
        return await _parse(media, raw)
    except NotJsonError as error:
        raise errors.bad_request(f"error decoding patch: {error.fault}") from None


def doubled(request: web.BaseRequest, raw: bytes, body: Any) -> list[str]:
    """What stands twice in a body: ``duplicate field "data.a"``; of a YAML text in its parser's words."""
    if raw.lstrip(b" \t\r\n")[:1] in (b"{", b"["):
        return [f'duplicate field "{path}"' for path in duplicate_fields(raw, body)]
    if media_type(request) not in ("application/yaml", APPLY_PATCH):
        return []
    return [f"line {line}: key {key} already set in map" for line, key in _doubled_keys(raw.decode())]


def _doubled_keys(text: str) -> Iterator[tuple[int, str]]:
    waiting: list[yaml.Node | None] = [yaml.compose(text, Loader=_Loader)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                waiting.append(value)
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    yield key.start_mark.line + 1, orjson.dumps(key.value).decode()
                seen.add(str(key.value))


def media_type(request: web.BaseRequest) -> str:
    return request.content_type if "Content-Type" in request.headers else "application/json"


async def _read(request: web.BaseRequest) -> bytes:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiError(415, "UnsupportedMediaType", "the body of the request is compressed: send it without Content-Encoding", {})
    if (request.content_length or 0) > LIMIT:
        raise errors.too_large(LIMIT)
    first = await request.content.readany()
    if request.content.at_eof() and len(first) <= LIMIT:
        return first
    raw = bytearray(first)
    while chunk := await request.content.readany():
        raw += chunk
        if len(raw) > LIMIT:
            raise errors.too_large(LIMIT)
    return bytes(raw)


async def _parse(media: str, raw: bytes) -> Any:
    if media in ("application/yaml", APPLY_PATCH):
        return parse_yaml(raw) if len(raw) < OFF_LOOP_FROM else await asyncio.to_thread(parse_yaml, raw)
    if media == wire.MEDIA_TYPE:
        return wire.decode_body(raw)
    if not (media == "application/json" or media.endswith("+json")):
        raise errors.unsupported_media_type(TYPES)
    return parse_json(raw)


def parse_yaml(raw: bytes) -> Any:
    """The value of a YAML text. Raises ApiError 400 for what is malformed, too deep, too much, or has no JSON form."""
    try:
        return parse_json(raw)  # most clients send JSON, which is YAML too
    except ApiError:
        pass
    try:
        text = raw.decode()
        _check_shape(text)
        return parse_json(orjson.dumps(yaml.load(text, Loader=_Loader), option=orjson.OPT_NON_STR_KEYS))
    except (yaml.YAMLError, TypeError, ValueError, LookupError, AttributeError) as error:
        # PyYAML's constructors raise whatever they stumble over when a tag does not fit its value.
        raise errors.bad_request(f"the body is not valid YAML: {str(error)[:_TEXT_LIMIT]}") from None


def _check_shape(text: str) -> None:
    """Walks the text's events, before anything is built from them."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise errors.bad_request("YAML aliases are not accepted")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise errors.bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES:
            raise errors.bad_request(f"the body has more than {MAX_NODES} nodes; send it as JSON")


class _Loader(yaml.CSafeLoader):
    """As Kubernetes reads YAML: dates stay strings, 1:30 is no number in base 60, tags make no objects."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != _YAML + "timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    text = loader.construct_scalar(node)
    if ":" in text:
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} characters")
    kind = node.tag.removeprefix(_YAML)
    value = loader.construct_yaml_int(node) if kind == "int" else loader.construct_yaml_float(node)
    # An integer beyond what a float holds is as endless to JSON's readers as .inf is.
    if not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"{text[:40]} has no form in JSON")
    return value


def _string(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


for _kind in ("int", "float"):
    _Loader.add_constructor(_YAML + _kind, _number)
for _kind in ("timestamp", "binary"):
    _Loader.add_constructor(_YAML + _kind, _string)
