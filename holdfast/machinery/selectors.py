"""Label and field selectors: parsed once, matched often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.machinery import errors, names

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"[-A-Za-z0-9_.]*"
_SET = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(rf"({_NAME})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_NAME})")
_COMPARE = re.compile(rf"({_NAME})\s*(<|>)\s*(-?\d+)")
_TOKEN = re.compile(r"!=|==|[=!(),<>]|[^\s=!(),<>]+")
_WORD = re.compile(r"[^\s=!(),<>]")
_OPERATORS = ("in", "notin", "=", "==", "!=", "<", ">")


@dataclass(frozen=True)
class Requirement:
    """``operator``: In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        if self.operator == "NotIn":
            return labels.get(self.key) not in self.values
        if self.key not in labels:
            return False
        if self.operator == "In":
            return labels[self.key] in self.values
        try:
            number, bound = int(labels[self.key]), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return number > bound if self.operator == "Gt" else number < bound


@dataclass(frozen=True)
class LabelSelector:
    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(r.matches(labels) for r in self.requirements)

    @property
    def empty(self) -> bool:
        return not self.nothing and not self.requirements

    def __str__(self) -> str:
        return ",".join(map(_text, self.requirements))


def _text(requirement: Requirement) -> str:
    key, values = requirement.key, ",".join(requirement.values)
    if requirement.operator == "In" and len(requirement.values) == 1:
        return f"{key}={values}"
    forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key, "DoesNotExist": f"!{key}"}
    return forms.get(requirement.operator) or f"{key}{'>' if requirement.operator == 'Gt' else '<'}{values}"


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


def parse_label_selector(text: str) -> LabelSelector:
    """``a=b,c in (d,e),!f``. Raises ApiError 400 with upstream's text."""
    if not text.strip():
        return EVERYTHING
    parts = _split(text)
    for position, part in enumerate(parts):
        if not part.strip():
            found = "," if position + 1 < len(parts) else ""
            wanted = "identifier after ','" if position else "!, identifier, or 'end of string'"
            raise errors.bad_request(f"found '{found}', expected: {wanted}")
    return LabelSelector(tuple(_checked(_requirement(part)) for part in parts))


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _requirement(part: str) -> Requirement:
    text = part.strip()  # spaces that two parts of a pattern may both match would be tried in every division
    if match := _SET.fullmatch(text):
        values = tuple(sorted(value.strip() for value in match[3].split(",")))
        return Requirement(match[1], "In" if match[2] == "in" else "NotIn", values)
    if match := _EQUAL.fullmatch(text):
        return Requirement(match[1], "NotIn" if match[2] == "!=" else "In", (match[3],))
    if match := _COMPARE.fullmatch(text):
        return Requirement(match[1], "Gt" if match[2] == ">" else "Lt", (match[3],))
    if match := _EXISTS.fullmatch(text):
        return Requirement(match[2], "DoesNotExist" if match[1] else "Exists")
    raise errors.bad_request(_complaint(text))


def _complaint(text: str) -> str:
    """Where a requirement stops making sense, as upstream's parser says it."""
    tokens = [*_TOKEN.findall(text), "", "", "", ""]
    lead, at = "unable to parse requirement: ", 1 if tokens[0] == "!" else 0
    if not at and tokens[0] and not _WORD.match(tokens[0]):
        return f"found '{tokens[0]}', expected: !, identifier, or 'end of string'"
    if at and _WORD.match(tokens[1]) and tokens[2]:
        return f"found '{tokens[2]}', expected: ',' or 'end of string'"
    if not _WORD.match(tokens[at]):
        return f"{lead}found '{tokens[at]}', expected: identifier"
    if faults := names.qualified_name(tokens[at]):
        return _bad_key(tokens[at], faults)
    operator, operand = tokens[at + 1], tokens[at + 2]
    if operator not in _OPERATORS:
        return f"{lead}found '{operator}', expected: in, notin, =, ==, !=, gt, lt"
    if operator in ("in", "notin"):
        return f"{lead}found '{operand}' expected: '('" if operand != "(" else f"{lead}found '', expected: ',' or ')'"
    if operand and not _WORD.match(operand):
        return f"{lead}found '{operand}', expected: identifier"
    if operator in ("<", ">"):
        return f"{lead}values[0]: Invalid value: \"{operand}\": for 'Gt', 'Lt' operators, the value must be an integer"
    if tokens[at + 3]:
        return f"found '{tokens[at + 3]}', expected: ',' or 'end of string'"
    return _bad_value(tokens[at], 0, operand, names.label_value(operand))


def _checked(requirement: Requirement) -> Requirement:
    if faults := names.qualified_name(requirement.key):
        raise errors.bad_request(_bad_key(requirement.key, faults))
    for position, value in enumerate(requirement.values):
        if requirement.operator in ("In", "NotIn") and (faults := names.label_value(value)):
            raise errors.bad_request(_bad_value(requirement.key, position, value, faults))
    return requirement


def _bad_key(key: str, faults: list[str]) -> str:
    return f'unable to parse requirement: <nil>: Invalid value: "{key}": {"; ".join(faults)}'


def _bad_value(key: str, position: int, value: str, faults: list[str]) -> str:
    return f'unable to parse requirement: values[{position}][{key}]: Invalid value: "{value}": {"; ".join(faults)}'


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """A LabelSelector object ({matchLabels, matchExpressions}); None selects nothing, {} everything."""
    if selector is None:
        return NOTHING
    found = [Requirement(key, "In", (value,)) for key, value in sorted((selector.get("matchLabels") or {}).items())]
    found += [
        Requirement(expression["key"], expression["operator"], tuple(expression.get("values") or ()))
        for expression in selector.get("matchExpressions") or []
    ]
    return LabelSelector(tuple(found))


def plain(labels: Mapping[str, Any] | None) -> LabelSelector:
    """A selector that is a map of labels, as older kinds have it; none of it selects nothing."""
    return from_map(labels) if labels else NOTHING


def from_map(labels: Mapping[str, str]) -> LabelSelector:
    """Equality with every pair (a Service's selector)."""
    return LabelSelector(tuple(Requirement(key, "In", (value,)) for key, value in sorted(labels.items())))


def parse_field_selector(text: str) -> list[tuple[str, str, str]]:
    """``a=b,c!=d`` as (field, "=" or "!=", value). Raises ApiError 400."""
    found = []
    for part in text.split(","):
        if not part:
            continue
        match = re.fullmatch(r"([^=!]+?)(!=|==|=)(.*)", part)
        if not match:
            raise errors.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        found.append((match[1], "!=" if match[2] == "!=" else "=", match[3].replace("\\,", ",").replace("\\=", "=")))
    return found


def matches_terms(terms: list[dict[str, Any]], labels: Mapping[str, str], fields: Mapping[str, str] | None = None) -> bool:
    """Terms that select nodes: any of them; within one, all expressions on labels and on fields. An empty term selects nothing."""
    for term in terms:
        by_label, by_field = term.get("matchExpressions") or [], term.get("matchFields") or []
        if (by_label or by_field) and _all(by_label, labels) and _all(by_field, fields or {}):
            return True
    return False


def _all(expressions: list[dict[str, Any]], values: Mapping[str, str]) -> bool:
    return all(Requirement(e["key"], e["operator"], tuple(e.get("values") or ())).matches(values) for e in expressions)
