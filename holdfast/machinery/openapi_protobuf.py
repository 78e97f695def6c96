"""OpenAPI documents in their protobuf form: v2 is what kubectl 1.20-1.33 ask for before create and apply.

Messages ``openapi.v2.Document`` and ``openapi.v3.Document`` of the gnostic project; field numbers are facts of those
formats. Only the parts that our documents have are written: info, paths with their operations, schemas, extensions,
and how to authenticate.
"""

from __future__ import annotations

import struct
from typing import Any

import orjson

V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V3 = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
"""As answered; clients also ask for ``spec.v2@v1.0``, which is not allowed in a Content-Type."""


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


def _named(name: str, value: bytes) -> bytes:
    """A member of a map, which these formats write as a message of name and value."""
    return _text(1, name) + _bytes(2, value)


def _any(value: Any) -> bytes:
    """Any carries YAML text; JSON is YAML."""
    return _bytes(2, orjson.dumps(value) + b"\n")


def _extensions(number: int, node: dict[str, Any]) -> bytes:
    return b"".join(_bytes(number, _named(name, _any(value))) for name, value in node.items() if name.startswith("x-"))


# v2.


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
        named = b"".join(_bytes(1, _named(name, _schema(child))) for name, child in node["properties"].items())
        out += _bytes(25, named)
    return out + _extensions(31, node)


def _parameter(node: dict[str, Any]) -> bytes:
    """openapi.v2.ParametersItem: body, query or path."""
    if node["in"] == "body":
        body = _text(2, node["name"]) + _text(3, "body") + _flag(4, bool(node.get("required"))) + _bytes(5, _schema(node["schema"]))
        return _bytes(1, _bytes(1, body))
    common = (
        _flag(1, bool(node.get("required"))) + _text(2, node["in"]) + _text(3, node.get("description", "")) + _text(4, node["name"])
    )
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
        responses += _bytes(1, _named(code, _bytes(1, body)))
    return out + _bytes(9, responses) + _texts(10, node.get("schemes", [])) + _extensions(13, node)


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def encode_v2(document: dict[str, Any]) -> bytes:
    """The whole document; what it has beyond the parts named above is left out."""
    info = document["info"]
    out = _text(1, document["swagger"]) + _bytes(2, _text(1, info["title"]) + _text(2, info["version"]))
    paths = b""
    for path, item in document["paths"].items():
        body = b"".join(_bytes(_METHODS[method], _operation(op)) for method, op in item.items() if method in _METHODS)
        body += b"".join(_bytes(9, _parameter(p)) for p in item.get("parameters", []))
        paths += _bytes(2, _named(path, body))
    definitions = b"".join(_bytes(1, _named(name, _schema(node))) for name, node in document["definitions"].items())
    schemes = b""
    for name, node in document.get("securityDefinitions", {}).items():
        key = _text(1, node["type"]) + _text(2, node["name"]) + _text(3, node["in"]) + _text(4, node["description"])
        schemes += _bytes(1, _named(name, _bytes(2, key)))
    return out + _bytes(8, paths) + _bytes(9, definitions) + _security(12, document) + _bytes(13, schemes)


def _security(number: int, document: dict[str, Any]) -> bytes:
    """Requirements; both versions write them alike."""
    found = document.get("security", [])
    return b"".join(_bytes(number, _bytes(1, _named(name, _texts(1, scopes)))) for one in found for name, scopes in one.items())


# v3.


def _schema3(node: dict[str, Any]) -> bytes:
    """openapi.v3.SchemaOrReference."""
    if "$ref" in node:
        return _bytes(2, _text(1, node["$ref"]))
    out = _flag(1, bool(node.get("nullable"))) + _flag(20, bool(node.get("uniqueItems"))) + _texts(23, node.get("required", []))
    out += b"".join(_bytes(24, _any(value)) for value in node.get("enum", [])) + _text(25, node.get("type", ""))
    out += b"".join(_bytes(26, _schema3(each)) for each in node.get("allOf", []))
    out += b"".join(_bytes(27, _schema3(each)) for each in node.get("oneOf", []))
    if "items" in node:
        out += _bytes(30, _bytes(1, _schema3(node["items"])))
    if "properties" in node:
        out += _bytes(31, b"".join(_bytes(1, _named(name, _schema3(child))) for name, child in node["properties"].items()))
    if isinstance(node.get("additionalProperties"), dict):
        out += _bytes(32, _bytes(1, _schema3(node["additionalProperties"])))
    out += _default3(node.get("default")) + _text(34, node.get("description", "")) + _text(35, node.get("format", ""))
    return _bytes(1, out + _extensions(36, node))


def _default3(value: Any) -> bytes:
    """The format knows numbers, truth values and texts as defaults; an empty object is left out."""
    if isinstance(value, bool):
        return _bytes(33, _varint(2 << 3) + _varint(value))
    if isinstance(value, int | float):
        return _bytes(33, _varint(1 << 3 | 1) + struct.pack("<d", value))
    return _bytes(33, _bytes(3, value.encode())) if isinstance(value, str) else b""


def _content3(number: int, content: dict[str, Any]) -> bytes:
    return _bytes(number, b"".join(_bytes(1, _named(media, _bytes(1, _schema3(node["schema"])))) for media, node in content.items()))


def _parameter3(node: dict[str, Any]) -> bytes:
    out = _text(1, node["name"]) + _text(2, node["in"]) + _text(3, node.get("description", ""))
    return _bytes(1, out + _flag(4, bool(node.get("required"))) + _bytes(10, _schema3(node["schema"])))


def _operation3(node: dict[str, Any]) -> bytes:
    out = _texts(1, node.get("tags", [])) + _text(3, node.get("description", "")) + _text(5, node.get("operationId", ""))
    out += b"".join(_bytes(6, _parameter3(p)) for p in node.get("parameters", []))
    if "requestBody" in node:
        asked = node["requestBody"]
        out += _bytes(7, _bytes(1, _content3(2, asked["content"]) + _flag(3, bool(asked.get("required")))))
    responses = b""
    for code, answer in node.get("responses", {}).items():
        body = _text(1, answer.get("description", "")) + (_content3(3, answer["content"]) if "content" in answer else b"")
        responses += _bytes(2, _named(code, _bytes(1, body)))
    return out + _bytes(8, responses) + _extensions(13, node)


_METHODS3 = {"get": 4, "put": 5, "post": 6, "delete": 7, "options": 8, "head": 9, "patch": 10}


def encode_v3(document: dict[str, Any]) -> bytes:
    """The whole document; what it has beyond the parts named above is left out."""
    info, components = document["info"], document["components"]
    out = _text(1, document["openapi"]) + _bytes(2, _text(1, info["title"]) + _text(6, info["version"]))
    paths = b""
    for path, item in document["paths"].items():
        body = b"".join(_bytes(_METHODS3[method], _operation3(op)) for method, op in item.items() if method in _METHODS3)
        body += b"".join(_bytes(13, _parameter3(p)) for p in item.get("parameters", []))
        paths += _bytes(1, _named(path, body))
    schemas = b"".join(_bytes(1, _named(name, _schema3(node))) for name, node in components["schemas"].items())
    schemes = b""
    for name, node in components.get("securitySchemes", {}).items():
        key = _text(1, node["type"]) + _text(2, node["description"]) + _text(3, node["name"]) + _text(4, node["in"])
        schemes += _bytes(1, _named(name, _bytes(1, key)))
    return out + _bytes(4, paths) + _bytes(5, _bytes(1, schemas) + _bytes(7, schemes)) + _security(6, document)
