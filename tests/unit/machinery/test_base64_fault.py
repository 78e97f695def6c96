"""base64 as Go takes it: its own table of corrupt texts, and what it forgives."""

from __future__ import annotations

import pytest

from holdfast.machinery.base64fault import canonical

CORRUPT = [
    ("!!!!", 0),
    ("====", 0),
    ("x===", 1),
    ("=AAA", 0),
    ("A=AA", 1),
    ("AA=A", 2),
    ("AA==A", 4),
    ("AAA=AAAA", 4),
    ("AAAAA", 4),
    ("AAAAAA", 4),
    ("A=", 1),
    ("AA=", 3),
    ("AAAAAA=", 7),
    ("YWJjZA=====", 8),
    ("A!\n", 1),
    ("A=\n", 1),
]


@pytest.mark.parametrize(("text", "place"), CORRUPT)
def test_the_place_of_the_fault_is_named(text: str, place: int) -> None:
    with pytest.raises(ValueError, match=f"^illegal base64 data at input byte {place}$"):
        canonical(text)


@pytest.mark.parametrize("text", ["", "AA==", "AAA=", "AAAA"])
def test_what_is_sound_stays_as_it_is(text: str) -> None:
    assert canonical(text) == text


def test_line_breaks_are_forgiven_and_not_kept() -> None:
    assert canonical("\n") == ""
    assert canonical("YWJj\r\nZA=\n=\n") == "YWJjZA=="
