"""An OpenAPI v2 document in its protobuf form, which kubectl 1.27-1.33 ask for before create and apply.

Message ``openapi.v2.Document`` of the gnostic project; field numbers are facts of that format. Only the
parts that our documents have are written: info, paths with their operations, definitions, extensions.
"""

from __future__ import annotations

from typing import Any

import orjson

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""As answered: the @ of the name that clients ask for is not allowed in a Content-Type."""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode()) if text else b""


def _texts(number: int, texts: list[str]) -> bytes:
    return b"".join(_bytes(number, text.encode()) for text in texts)


def _flag(number: int, value: bool) -> bytes:
    return _varint(number << 3) + b"\x01" if value else b""


def _any(value: Any) -> bytes:
    """openapi.v2.Any carries YAML text; JSON is YAML."""
    return _bytes(2, orjson.dumps(value) + b"\n")


def _extensions(number: int, node: dict[str, Any]) -> bytes:
    return b"".join(_bytes(number, _text(1, name) + _bytes(2, _any(value))) for name, value in node.items() if name.startswith("x-"))


def _schema(node: dict[str, Any]) -> bytes:
    out = _text(1, node.get("$ref", "")) + _text(2, node.get("format", "")) + _text(4, node.get("description", ""))
    if "default" in node:
        out += _bytes(5, _any(node["default"]))
    out += _texts(19, node.get("required", []))
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        out += _bytes(21, _bytes(1, _schema(extra)))
    if "type" in node:
        out += _bytes(22, _text(1, node["type"]))
    if "items" in node:
        out += _bytes(23, _bytes(1, _schema(node["items"])))
    if "properties" in node:
        named = b"".join(_bytes(1, _text(1, name) + _bytes(2, _schema(child))) for name, child in node["properties"].items())
        out += _bytes(25, named)
    return out + _extensions(31, node)


def _parameter(node: dict[str, Any]) -> bytes:
    """openapi.v2.ParametersItem: body, query or path."""
    if node["in"] == "body":
        body = _text(2, node["name"]) + _text(3, "body") + _flag(4, bool(node.get("required"))) + _bytes(5, _schema(node["schema"]))
        return _bytes(1, _bytes(1, body))
    common = _flag(1, bool(node.get("required"))) + _text(2, node["in"]) + _text(4, node["name"])
    if node["in"] == "path":
        return _bytes(1, _bytes(2, _bytes(4, common + _text(5, node.get("type", "string")) + _flag(19, bool(node.get("uniqueItems"))))))
    return _bytes(1, _bytes(2, _bytes(3, common + _text(6, node.get("type", "string")) + _flag(20, bool(node.get("uniqueItems"))))))


def _operation(node: dict[str, Any]) -> bytes:
    out = _texts(1, node.get("tags", [])) + _text(3, node.get("description", "")) + _text(5, node.get("operationId", ""))
    out += _texts(6, node.get("produces", [])) + _texts(7, node.get("consumes", []))
    out += b"".join(_bytes(8, _parameter(p)) for p in node.get("parameters", []))
    responses = b""
    for code, answer in node.get("responses", {}).items():
        body = _text(1, answer.get("description", ""))
        if "schema" in answer:
            body += _bytes(2, _bytes(1, _schema(answer["schema"])))
        responses += _bytes(1, _text(1, code) + _bytes(2, _bytes(1, body)))
    return out + _bytes(9, responses) + _texts(10, node.get("schemes", [])) + _extensions(13, node)


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def encode_openapi_v2(document: dict[str, Any]) -> bytes:
    """The whole document; what it has beyond the parts named above is left out."""
    info = document["info"]
    out = _text(1, document["swagger"]) + _bytes(2, _text(1, info["title"]) + _text(2, info["version"]))
    paths = b""
    for path, item in document["paths"].items():
        body = b"".join(_bytes(_METHODS[method], _operation(op)) for method, op in item.items() if method in _METHODS)
        body += b"".join(_bytes(9, _parameter(p)) for p in item.get("parameters", []))
        paths += _bytes(2, _text(1, path) + _bytes(2, body))
    out += _bytes(8, paths)
    definitions = b"".join(_bytes(1, _text(1, name) + _bytes(2, _schema(node))) for name, node in document["definitions"].items())
    return out + _bytes(9, definitions)
