"""What a label selector that makes no sense is answered, in upstream's words (recorded from a real API server)."""

from __future__ import annotations

import pytest

from holdfast.machinery.errors import ApiError
from holdfast.machinery.selectors import parse_label_selector

LEAD = "unable to parse requirement: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a===b", LEAD + "found '=', expected: identifier"),
        ("n in", LEAD + "found '' expected: '('"),
        ("app in nginx", LEAD + "found 'nginx' expected: '('"),
        ("n in (1", LEAD + "found '', expected: ',' or ')'"),
        ("n>x", LEAD + "values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"),
        ("v=" + "v" * 64, LEAD + f'values[0][v]: Invalid value: "{"v" * 64}": must be no more than 63 bytes'),
        ("-bad=x", LEAD + '<nil>: Invalid value: "-bad": name part must consist of'),
        ("a/b/c", LEAD + '<nil>: Invalid value: "a/b/c": a valid label key must consist of'),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
    ],
)
def test_faults(text: str, said: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_label_selector(text)
    assert (caught.value.code, caught.value.message[: len(said)]) == (400, said)


@pytest.mark.parametrize("text", ["", "a", "!a", "a=", "a==b", "a!=b", "x.example/y in (1,2)", "a notin (b)", "a>3,b<4"])
def test_what_makes_sense(text: str) -> None:
    parse_label_selector(text)
