"""Names: the rules of RFC 1123 and 1035 as Kubernetes words them, generated names, safe hashes."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an"
    " alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with"
    " an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_NAME_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    " (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_KEY_TEXT = (
    _NAME_TEXT.replace("name part", "a valid label key") + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _check(value: str, pattern: re.Pattern[str], limit: int, text: str, unit: str = "characters") -> list[str]:
    found = []
    if len(value) > limit:
        found.append(f"must be no more than {limit} {unit}")
    if not pattern.fullmatch(value[: limit + 1]):
        found.append(text)
    return found


def dns1123_label(value: str) -> list[str]:
    return _check(value, _LABEL, 63, _LABEL_TEXT)


def dns1035_label(value: str) -> list[str]:
    return _check(value, _LABEL_1035, 63, _LABEL_1035_TEXT)


def dns1123_subdomain(value: str) -> list[str]:
    return _check(value, _SUBDOMAIN, 253, _SUBDOMAIN_TEXT)


def path_segment(value: str) -> list[str]:
    """Names that only must be safe in a URL path (RBAC objects)."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in value]


def qualified_name(value: str) -> list[str]:
    """``prefix/name``: label and annotation keys."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [_KEY_TEXT]
    found = []
    if slash:
        found = ["prefix part must be non-empty"] if not prefix else [f"prefix part {text}" for text in dns1123_subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 bytes")
    if name and not _QUALIFIED.fullmatch(name[:64]):
        found.append(_NAME_TEXT)
    return found


def label_value(value: str) -> list[str]:
    return _check(value, _QUALIFIED, 63, _VALUE_TEXT, "bytes") if value else []


def generate_name(base: str, choose: Callable[[str], str] = random.SystemRandom().choice) -> str:
    """``base`` cut to 58 characters plus five random ones from the safe alphabet."""
    return base[:58] + "".join(choose(ALPHABET) for _ in range(5))


def fnv32a(data: bytes, start: int = 2166136261) -> int:
    value = start
    for byte in data:
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


@functools.lru_cache(512)
def fnv32(data: bytes, start: int = 2166136261) -> int:
    """FNV-1 (multiply, then xor): what ControllerRevision hashes use."""
    value = start
    for byte in data:
        value = ((value * 16777619) & 0xFFFFFFFF) ^ byte
    return value


def safe_encode(text: str) -> str:
    """Maps digits of a hash to characters that spell no words, as apimachinery's rand.SafeEncodeString."""
    return "".join(ALPHABET[ord(char) % len(ALPHABET)] for char in text)
