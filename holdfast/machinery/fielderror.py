"""Field errors: what is wrong with one field of an object, with its path.

Checks return lists of these, never raise; ``machinery.errors.invalid`` turns a list into the 422
Status. Texts follow apimachinery ``util/validation/field``. Paths are plain strings
(``spec.containers[0].name``), built with ``child``, ``index`` and ``key``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_TITLES = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueNotFound": "Not found",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}
_NO_VALUE = {"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError"}


OMITTED: Any = object()
"""A value that says nothing: the text goes without it."""


def child(path: str, *names: str) -> str:
    return ".".join([path, *names] if path else names)


def index(path: str, position: int) -> str:
    return f"{path}[{position}]"


def key(path: str, name: str) -> str:
    return f"{path}[{name}]"


@dataclass(frozen=True)
class FieldError:
    """One fault: ``reason`` is a CauseType (FieldValueInvalid ...), ``value`` the offending value as read."""

    reason: str
    path: str
    value: Any
    detail: str = ""

    def body(self) -> str:
        """The text behind the path, as upstream words it."""
        title = _TITLES[self.reason]
        if self.reason in _NO_VALUE or self.value is OMITTED:
            return f"{title}: {self.detail}" if self.detail else title
        shown = f"{title}: {_render(self.value)}"
        return f"{shown}: {self.detail}" if self.detail else shown

    def cause(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.body(), "field": self.path}

    def __str__(self) -> str:
        return f"{self.path}: {self.body()}"


_GO_ESCAPES = {"\a": "\\a", "\v": "\\v"}


def quoted(text: str) -> str:
    """As Go's %q: printable characters as they are, others escaped."""
    if text.isprintable():
        return json.dumps(text, ensure_ascii=False)
    return '"' + "".join(_GO_ESCAPES.get(char) or _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char.isprintable() or char in "\b\f\n\r\t":
        return json.dumps(char, ensure_ascii=False)[1:-1]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _render(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def aggregate(errors: Sequence[FieldError]) -> str:
    texts = list(dict.fromkeys(str(e) for e in errors))
    return texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"


def required(path: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", path, "", detail)


def invalid(path: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", path, value, detail)


def not_supported(path: str, value: Any, allowed: Iterable[str]) -> FieldError:
    listed = ", ".join(json.dumps(a) for a in sorted(allowed))
    return FieldError("FieldValueNotSupported", path, value, f"supported values: {listed}")


def forbidden(path: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", path, "", detail)


def duplicate(path: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", path, value)


def too_many(path: str, count: int, limit: int) -> FieldError:
    return FieldError("FieldValueTooMany", path, count, f"must have at most {limit} items")


def too_long(path: str, value: Any, limit: int) -> FieldError:
    return FieldError("FieldValueTooLong", path, value, f"may not be more than {limit} bytes")
