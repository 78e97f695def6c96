"""Why a text is no JSON, in the words of Go's decoder, which clients of Kubernetes know. Runs only on texts that failed to parse."""

from __future__ import annotations

import re

TRUNCATED = "unexpected end of JSON input"
_SPACE = " \t\r\n"
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_ESCAPES = '"\\/bfnrt'


class _Fault(Exception):
    pass


def go_fault(raw: bytes) -> str:
    """``invalid character 'o' looking for beginning of object key string`` and its like; TRUNCATED where the text just ends."""
    text = raw.decode(errors="replace")
    try:
        end = _space(text, _value(text, _space(text, 0)))
        if end < len(text):
            raise _invalid(text, end, "after top-level value")
    except _Fault as fault:
        return str(fault)
    return "invalid UTF-8 in string literal"


def _invalid(text: str, at: int, where: str) -> _Fault:
    if at >= len(text):
        return _Fault(TRUNCATED)
    char = {"'": "'\\''", '"': "'\"'"}.get(text[at], f"'{text[at]}'" if text[at].isprintable() else repr(text[at]))
    return _Fault(f"invalid character {char} {where}")


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _value(text: str, at: int) -> int:
    """The end of the value at ``at``. Containers are kept on a list: depth costs no recursion."""
    open_: list[str] = []
    while True:
        at = _space(text, at)
        char = text[at : at + 1]
        if char and char in "{[":
            open_.append(char)
            at = _space(text, at + 1)
            if text[at : at + 1] != ("}" if char == "{" else "]"):
                if char == "{":
                    at = _key(text, at)
                continue
            open_.pop()
            at += 1
        else:
            at = _scalar(text, at)
        while open_:
            at = _space(text, at)
            closing, where = ("}", "after object key:value pair") if open_[-1] == "{" else ("]", "after array element")
            if text[at : at + 1] == ",":
                at = _key(text, _space(text, at + 1)) if open_[-1] == "{" else at + 1
                break
            if text[at : at + 1] != closing:
                raise _invalid(text, at, where)
            open_.pop()
            at += 1
        else:
            return at


def _key(text: str, at: int) -> int:
    if text[at : at + 1] != '"':
        raise _invalid(text, at, "looking for beginning of object key string")
    at = _space(text, _string(text, at))
    if text[at : at + 1] != ":":
        raise _invalid(text, at, "after object key")
    return at + 1


def _scalar(text: str, at: int) -> int:
    char = text[at : at + 1]
    if char == '"':
        return _string(text, at)
    if char in _LITERALS:
        word = _LITERALS[char]
        for offset, wanted in enumerate(word):
            if text[at + offset : at + offset + 1] != wanted:
                raise _invalid(text, at + offset, f"in literal {word} (expecting '{wanted}')")
        return at + len(word)
    number = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?").match(text, at)
    if number is None:
        raise _invalid(text, at + (char == "-"), "in numeric literal" if char == "-" else "looking for beginning of value")
    end = number.end()
    if text[end : end + 1] == "." and number[2] is None:
        raise _invalid(text, end + 1, "after decimal point in numeric literal")
    return end


def _string(text: str, at: int) -> int:
    at += 1
    while at < len(text):
        char = text[at]
        if char == '"':
            return at + 1
        if char < " ":
            raise _invalid(text, at, "in string literal")
        if char == "\\":
            at += 1
            if text[at : at + 1] == "u":
                for offset in range(1, 5):
                    if text[at + offset : at + offset + 1] not in "0123456789abcdefABCDEF" or at + offset >= len(text):
                        raise _invalid(text, at + offset, "in \\u hexadecimal character escape")
                at += 4
            elif at >= len(text) or text[at] not in _ESCAPES:
                raise _invalid(text, at, "in string escape code")
        at += 1
    raise _Fault(TRUNCATED)
