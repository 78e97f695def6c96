"""Who owns what: the cap on updaters, resets, and the books after any series of writes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.kinds.core.config import CONFIGMAP
from holdfast.kinds.kind import Obj
from holdfast.machinery.errors import ApiError
from holdfast.machinery.fields import Fields, union
from holdfast.registry.managers import ANCIENT, APPLY, MAX_UPDATERS, UPDATE, Manager, applied, base, updated

NOW = "2026-01-01T00:00:00Z"


def config(**data: str) -> Obj:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": data}


def owned(entries: list[Obj], name: str) -> set[str]:
    return {field[2:] for e in entries if e["manager"] == name for field in e["fieldsV1"].get("f:data", {}) if field != "."}


def updater(name: str) -> Manager:
    return Manager(name, UPDATE, "v1")


def test_the_last_writer_of_a_field_owns_it() -> None:
    entries = updated(CONFIGMAP, [], None, config(a="1", b="1"), updater("one"), NOW)
    entries = updated(CONFIGMAP, entries, config(a="1", b="1"), config(a="2", b="1"), updater("two"), NOW)
    assert (owned(entries, "one"), owned(entries, "two")) == ({"b"}, {"a"})
    entries = updated(CONFIGMAP, entries, config(a="2", b="1"), config(b="1"), updater("three"), NOW)
    assert [owned(entries, name) for name in ("one", "two", "three")] == [{"b"}, set(), set()]


def test_old_updaters_are_thrown_together_and_lose_nothing() -> None:
    old, entries = config(), updated(CONFIGMAP, [], None, config(), updater("first"), NOW)
    for number in range(MAX_UPDATERS + 5):
        new = config(**old["data"], **{f"k{number}": "1"})
        entries = updated(CONFIGMAP, entries, old, new, updater(f"m{number}"), f"2026-01-01T00:00:{number:02}Z")
        old = new
    assert sum(e["operation"] == UPDATE for e in entries) <= MAX_UPDATERS
    everything: Fields | None = None
    for entry in entries:
        everything = union(everything, entry["fieldsV1"])
    assert {name[2:] for name in (everything or {})["f:data"] if name != "."} == set(old["data"])
    assert owned(entries, ANCIENT)


def test_the_books_can_be_cleared_but_not_garbled() -> None:
    live = [updater("one").entry({"f:data": {}}, NOW)]
    assert base([{}], live) == []
    assert base([{"manager": "x", "operation": "Sideways"}], live) == live
    assert base(None, live) == live
    assert updated(CONFIGMAP, [], config(a="1"), config(a="2"), updater("one"), NOW) == []


WRITES = st.lists(
    st.tuples(
        st.sampled_from(["u1", "u2", "a1", "a2"]),
        st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3),
        st.booleans(),
    ),
    max_size=8,
)


@given(WRITES)
def test_after_any_writes_applied_fields_are_there_and_nobody_owns_what_is_not(writes: list[tuple[str, dict[str, str], bool]]) -> None:
    live: Any = None
    for who, data, force in writes:
        entries = live["metadata"]["managedFields"] if live else []
        if who.startswith("u"):
            new = config(**data)
            entries = updated(CONFIGMAP, entries, live, new, updater(who), NOW) if live is None or entries else entries
        else:
            try:
                new, entries = applied(CONFIGMAP, live, config(**data), Manager(who, APPLY, "v1"), NOW, force=force)
            except ApiError:
                refused = True
            else:
                refused = False
            assert not (refused and force)
            if refused:
                continue
            assert {name: (new.get("data") or {}).get(name) for name in data} == data
        live = {**new, "data": new.get("data") or {}, "metadata": {"name": "x", "managedFields": entries}}
        assert all(owned(entries, e["manager"]) <= set(live["data"]) for e in entries)
