"""Field sets: an algebra of sets; and the walks of objects that make them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kinds.schemas import schema_of
from holdfast.machinery import typed
from holdfast.machinery.fields import Fields, difference, intersection, is_member, members, node, union

Path = tuple[str, ...]
SPEC = schema_of("io.k8s.api.core.v1.PodSpec")
CONFIG = schema_of("io.k8s.api.core.v1.ConfigMap")


def of(paths: set[Path]) -> Fields | None:
    children: Fields = {}
    for name in {path[0] for path in paths if path}:
        below = of({path[1:] for path in paths if path and path[0] == name})
        if below is not None:
            children[name] = below
    return node(children, member=() in paths)


def paths_of(fields: Fields | None, at: Path = ()) -> set[Path]:
    if fields is None:
        return set()
    found = {at} if is_member(fields) else set()
    return found.union(*(paths_of(below, (*at, name)) for name, below in fields.items() if name != "."))


SETS = st.sets(st.lists(st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}']), max_size=3).map(tuple), max_size=6)


@given(SETS, SETS)
def test_the_algebra_is_that_of_sets_of_paths(one: set[Path], two: set[Path]) -> None:
    assert paths_of(of(one)) == one
    assert paths_of(union(of(one), of(two))) == one | two
    assert paths_of(difference(of(one), of(two))) == one - two
    assert paths_of(intersection(of(one), of(two))) == one & two


def test_members_are_printed_as_upstream_prints_them() -> None:
    fields = {"f:spec": {"f:containers": {'k:{"name":"a"}': {".": {}, "f:image": {}}}, "f:x": {'v:"y"': {}}}}
    assert list(members(fields)) == ['.spec.containers[name="a"]', '.spec.containers[name="a"].image', '.spec.x[="y"]']


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


def test_list_items_are_known_by_their_keys_and_the_keys_defaults() -> None:
    found = typed.fields_of(SPEC, {"containers": [container("a", ports=[{"containerPort": 80}])]})
    port = 'k:{"containerPort":80,"protocol":"TCP"}'
    assert found == {"f:containers": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:ports": {port: {".": {}, "f:containerPort": {}}}}}}


def test_what_the_schema_does_not_allow_is_named() -> None:
    with pytest.raises(typed.UntypedError, match=r"^\.data\.k: expected string, got &value.valueUnstructured\{Value:1\}$"):
        typed.fields_of(CONFIG, {"data": {"k": 1}})
    with pytest.raises(typed.UntypedError, match=r'^\.containers: duplicate entries for key \[name="a"\]$'):
        typed.fields_of(SPEC, {"containers": [container("a"), container("a")]})
    with pytest.raises(typed.UntypedError, match=r"^\.foo: field not declared in schema$"):
        typed.fields_of(CONFIG, {"foo": 1})


def test_merge_keeps_order_and_puts_new_items_where_the_applier_has_them() -> None:
    live = {"containers": [container("a", image="1"), container("b", image="1"), container("c", image="1")]}
    merged = typed.merge(SPEC, live, {"containers": [container("c", image="2"), container("new"), container("a", image="2")]})
    assert [(c["name"], c.get("image")) for c in merged["containers"]] == [("b", "1"), ("c", "2"), ("new", None), ("a", "2")]


def test_remove_takes_items_and_fields_and_leaves_the_rest() -> None:
    live = {"containers": [container("a", image="1"), container("b")], "hostname": "h"}
    gone = {"f:containers": {'k:{"name":"b"}': {}, 'k:{"name":"a"}': {"f:image": {}}}}
    assert typed.remove(SPEC, live, gone) == {"containers": [container("a")], "hostname": "h"}


VALUES = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)


@given(VALUES, VALUES)
def test_compare_says_what_came_and_what_went(old: dict[str, str], new: dict[str, str]) -> None:
    changed, removed = typed.compare(CONFIG, {"data": old}, {"data": new})
    came = {name for name in new if old.get(name) != new[name]}
    went = set(old) - set(new)
    assert {name[2:] for name in (changed or {}).get("f:data", {}) if name != "."} == came
    assert {name[2:] for name in (removed or {}).get("f:data", {}) if name != "."} == went
