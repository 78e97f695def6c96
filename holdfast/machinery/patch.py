"""JSON patch (RFC 6902) and merge patch (RFC 7396), with upstream's limits and refusals (API-62, API-63)."""

from __future__ import annotations

from typing import Any

import orjson

from holdfast.machinery.decode import MAX_DEPTH
from holdfast.machinery.errors import ApiError, bad_request
from holdfast.machinery.schema import Json
from holdfast.machinery.tree import copied

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024
_DIGITS = 10
"""Of a position in a list."""


def _unprocessable() -> ApiError:
    """A patch that does not apply; upstream says no more than this."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def merge_patch(document: Json, patch: Json) -> Json:
    """A new document; ``null`` removes a field."""
    if not isinstance(patch, dict):
        return copied(patch)
    out = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = merge_patch(out.get(name), value)
    return out


def json_patch(document: Json, operations: Json) -> Json:
    """A new document. Raises ApiError: 400 for no list, 413 for a huge one, 422 for one that does not apply."""
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        given = "array" if isinstance(operations, list) else "object" if isinstance(operations, dict) else "value"
        raise bad_request(f"error decoding patch: json: cannot unmarshal {given} into Go value of type []handlers.jsonPatchOp")
    if len(operations) > MAX_OPERATIONS:
        raise _too_large(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}")
    try:
        out = _carry_out(copied(document), operations)
        _check_depth(out)
    except RecursionError:
        raise _unprocessable() from None
    return out


def _carry_out(out: Json, operations: list[Json]) -> Json:
    copied = 0
    for operation in operations:
        if operation.get("op") == "copy":
            copied += len(_encoded(_get(out, _pointer(operation, "from"))))
            if copied > MAX_COPIED:
                raise _too_large(f"Unable to complete the copy, the accumulated size increase of copy is {copied}, limit {MAX_COPIED}")
        out = _apply(out, operation)
    return out


def _encoded(value: Json) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # too deep for it
        raise _unprocessable() from None


def _check_depth(tree: Json) -> None:
    """Operations may nest what they add in what they added before; each is no deeper than a body may be."""
    level = [tree] if isinstance(tree, dict | list) else []
    for _ in range(MAX_DEPTH + 1):
        level = [below for item in level for below in (item.values() if isinstance(item, dict) else item)]
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return
    raise _unprocessable()


def _too_large(why: str) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: {why}")


def _pointer(operation: dict[str, Any], field: str) -> list[str]:
    """What stands before the first slash does not count, as upstream's library has it."""
    text = operation.get(field)
    if not isinstance(text, str) or (text and "/" not in text):
        raise _unprocessable()
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _apply(document: Json, operation: dict[str, Any]) -> Json:
    act = operation.get("op")
    path = _pointer(operation, "path")
    if act in ("add", "replace", "test") and "value" not in operation:
        raise _unprocessable()
    if act in ("add", "replace"):
        # Replacing a field that is absent adds it, as upstream's library does; an item of a list must be there.
        return _set(document, path, copied(operation["value"]), insert=act == "add")
    if act == "remove":
        return _remove(document, path)
    if act == "test":
        if not _absent(document, path, operation["value"]) and _get(document, path) != operation["value"]:
            raise _unprocessable()
        return document
    if act in ("move", "copy"):
        source = _pointer(operation, "from")
        value = _get(document, source)
        if act == "move":
            document = _remove(document, source)
        else:
            value = copied(value)
        return _set(document, path, value, insert=True)
    raise _unprocessable()


def _absent(document: Json, path: list[str], value: Json) -> bool:
    """Whether ``value`` is null and so is, or is not there, the field: testing for null is how a patch says "only if unset"."""
    parent = _get(document, path[:-1]) if path and value is None else None
    return isinstance(parent, dict) and parent.get(path[-1]) is None


def _position(items: list[Json], part: str, *, end: bool) -> int:
    """A place in a list, or (``end``) the one behind its last; a negative one counts from there, as upstream's library has it."""
    places = len(items) + int(end)
    if part == "-" and end:
        return len(items)
    digits = part[1:] if part[:1] in ("+", "-") else part
    if not (digits.isascii() and digits.isdigit() and len(digits) < _DIGITS) or not -places <= int(part) < places:
        raise _unprocessable()
    return int(part) % places


def _get(document: Json, path: list[str]) -> Json:
    for part in path:
        if isinstance(document, list):
            document = document[_position(document, part, end=False)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            raise _unprocessable()
    return document


def _set(document: Json, path: list[str], value: Json, *, insert: bool) -> Json:
    if not path:
        return value
    parent = _get(document, path[:-1])
    if isinstance(parent, list):
        position = _position(parent, path[-1], end=insert)
        parent[position : position + (0 if insert else 1)] = [value]
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise _unprocessable()
    return document


def _remove(document: Json, path: list[str]) -> Json:
    if not path:
        raise _unprocessable()
    _get(document, path)
    parent = _get(document, path[:-1])
    del parent[_position(parent, path[-1], end=False) if isinstance(parent, list) else path[-1]]
    return document
