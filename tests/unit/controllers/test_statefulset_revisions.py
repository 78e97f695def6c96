"""ControllerRevisions: Go's bytes, upstream's hashes, the history and its limit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.statefulset import revisions
from holdfast.kinds.kind import Obj
from holdfast.kinds.schemas import of_kind
from holdfast.machinery import meta
from holdfast.machinery.default import apply_defaults

GOLDEN = Path(__file__).parents[2] / "conformance" / "golden" / "statefulset.json"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab$<\\"', max_size=3), inner, max_size=3),
    max_leaves=8,
)


def make_set(**metadata: Any) -> Obj:
    """A set whose revision a real API server has named (labels and template as it stored them)."""
    container = {
        "image": "busybox:1.37",
        "imagePullPolicy": "IfNotPresent",
        "name": "c",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    spec = {
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "containers": [container],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "rev-plain", "namespace": "tut", "uid": "u", **metadata},
        "spec": {"template": {"metadata": {"labels": {"app": "rev"}}, "spec": spec}},
    }


def revision(number: int, name: str = "", made: str = "") -> Obj:
    return {"metadata": {"name": name or f"r{number}", "creationTimestamp": made}, "revision": number, "data": {"n": number}}


def test_name_hash_and_bytes_are_those_of_a_real_server() -> None:
    made = revisions.build(make_set(annotations={"kubernetes.io/change-cause": "why"}), 4, 0)
    assert revisions.go_json(made["data"]) == (
        '{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"rev"}},"spec":{"containers":'
        '[{"image":"busybox:1.37","imagePullPolicy":"IfNotPresent","name":"c","resources":{},'
        '"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],'
        '"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},'
        '"terminationGracePeriodSeconds":30}}}}'
    )
    assert made["revision"] == 4
    assert made["metadata"]["name"] == "rev-plain-cd684df98"
    assert made["metadata"]["labels"] == {"app": "rev", "controller.kubernetes.io/hash": "cd684df98"}
    assert made["metadata"]["annotations"] == {"kubernetes.io/change-cause": "why"}
    assert [r["controller"] for r in made["metadata"]["ownerReferences"]] == [True]


def test_a_collision_gives_another_name_to_the_same_data() -> None:
    first, second = revisions.build(make_set(), 1, 0), revisions.build(make_set(), 1, 1)
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert revisions.equal(first, second)


def test_the_template_comes_back_and_the_set_is_left_alone() -> None:
    owner = make_set()
    before = copy.deepcopy(owner)
    made = revisions.build(owner, 1, 0)
    assert revisions.template_of(made) == owner["spec"]["template"]
    made["data"]["spec"]["template"]["spec"]["containers"].clear()
    assert owner == before


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a<b>&c", r'"a\u003cb\u003e\u0026c"'),
        ("\u2028\u2029", r'"\u2028\u2029"'),
        ("é☃😀", '"é☃😀"'),
        ("\x01\n\t\r", r'"\u0001\n\t\r"'),
        (r"grep '\bword\f'", r'''"grep '\\bword\\f'"'''),
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
    ],
)
def test_text_as_go_encodes_it(value: Any, text: str) -> None:
    assert revisions.go_json(value) == text


@given(json_values)
def test_encoding_loses_nothing_and_is_stable(value: Any) -> None:
    text = revisions.go_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)
    assert revisions.go_json(json.loads(text)) == text


@given(json_values, json_values)
def test_the_hash_follows_from_the_data_alone(one: Any, other: Any) -> None:
    same = revisions.go_json(one) == revisions.go_json(other)
    hashes = [revisions.hash_of({"spec": value}, 0) for value in (one, other)]
    assert not same or hashes[0] == hashes[1]
    assert set("".join(hashes)) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_equal_is_of_meaning_not_of_order() -> None:
    assert revisions.equal({"data": {"a": 1, "b": 2}}, {"data": {"b": 2, "a": 1}})
    assert not revisions.equal({"data": {"a": 1}}, {"data": {"a": 2}})
    assert revisions.equal({"data": {"a": [{"b": 1}]}}, {"data": {"a": [{"b": 1, "creationTimestamp": None}]}})
    assert not revisions.equal({"data": {"a": [None, 1]}}, {"data": {"a": [1]}})


def test_order_is_by_number_then_age_then_name() -> None:
    given_order = [revision(2, "z", "2"), revision(1, "y", "3"), revision(2, "b", "1"), revision(2, "a", "2")]
    assert [r["metadata"]["name"] for r in revisions.in_order(given_order)] == ["y", "b", "a", "z"]


@given(st.lists(st.integers(1, 30), unique=True), st.sets(st.integers(1, 30)), st.integers(-1, 12))
def test_the_history_limit_spares_the_living_and_the_newest(numbers: list[int], live: set[int], limit: int) -> None:
    dropped = [r["revision"] for r in revisions.surplus([*map(revision, numbers)], {f"r{n}" for n in live}, limit)]
    idle = sorted(n for n in numbers if n not in live)
    kept = [n for n in idle if n not in dropped]
    assert not live & set(dropped)
    assert dropped + kept == idle, "the oldest go"
    assert len(kept) == (len(idle) if limit < 0 else min(limit, len(idle)))


# R-48, E14: what was recorded once stays the same revision


def _recorded() -> list[tuple[str, Obj, str, str]]:
    """Of a real API server 1.36: the set as it was created, and its revision's name, hash and bytes."""
    found, created = [], {}
    for record in json.loads(GOLDEN.read_text()):
        body = record["request"].get("body")
        if record["request"].get("method") == "POST" and isinstance(body, dict) and body.get("kind") == "StatefulSet":
            created[body["metadata"]["name"]] = body
        if text := record["response"].get("data_text"):
            name, digest = record["response"]["name"], record["response"]["hash"]
            found.append((name, created[name.removesuffix(f"-{digest}")], digest, text))
    return found


@pytest.mark.parametrize(("name", "created", "digest", "text"), _recorded(), ids=[name for name, *_ in _recorded()])
def test_r48_e14_names_are_frozen(name: str, created: Obj, digest: str, text: str) -> None:
    """From the manifest on: a default that is added, an encoding that changes, and every set would roll."""
    owner = copy.deepcopy(created)
    owner["metadata"].setdefault("uid", "u")
    schema = of_kind("apps", "v1", "StatefulSet")
    assert schema is not None
    apply_defaults(schema, owner)
    made = revisions.build(owner, 1, 0)
    assert revisions.go_json(made["data"]) == text
    assert (made["metadata"]["name"], made["metadata"]["labels"][revisions.HASH]) == (name, digest)


@pytest.mark.parametrize(("collisions", "digest"), [(0, "cd684df98"), (1, "cd684df99"), (12, "5bf87545b7")])
def test_r48_r37_hashes_of_collisions_are_frozen(collisions: int, digest: str) -> None:
    assert revisions.hash_of(revisions.data_of(make_set()), collisions) == digest


def _older(form: str) -> Obj:
    template = copy.deepcopy(make_set()["spec"]["template"])
    match form:
        case "nulls":
            template["metadata"]["creationTimestamp"] = None
        case "empty lists":
            template["spec"]["containers"][0]["env"] = []
        case "fewer defaults":
            del template["spec"]["dnsPolicy"], template["spec"]["containers"][0]["terminationMessagePolicy"]
    return {"data": {"spec": {"template": {**template, "$patch": "replace"}}}, "revision": 3, "metadata": {"name": "old"}}


@pytest.mark.parametrize("form", ["nulls", "empty lists", "fewer defaults"])
def test_r48_e14_what_another_version_wrote_is_the_same_revision(form: str) -> None:
    owner, old = make_set(), _older(form)
    before = copy.deepcopy(old)
    wanted = revisions.build(owner, 4, 0)
    assert old["data"] != wanted["data"]
    assert revisions.equal(old, wanted)
    assert revisions.find([revision(1), old], wanted) is old
    assert old == before
    owner["spec"]["template"]["spec"]["containers"][0]["image"] = "busybox:1.36"
    assert not revisions.equal(old, revisions.build(owner, 4, 0))
    assert revisions.find([revision(1), old], revisions.build(owner, 4, 0)) is None


@given(st.permutations([revision(2, "b"), revision(2, "a"), revision(2, "c"), revision(1, "z")]))
def test_r37_of_equal_numbers_the_choice_is_stable(found: list[Obj]) -> None:
    """However the list comes: the newest is always the same one, so nothing flips back and forth."""
    assert [r["metadata"]["name"] for r in revisions.in_order(found)] == ["z", "a", "b", "c"]


@given(st.lists(st.integers(0, 6), max_size=8))
def test_no_two_of_a_set_keep_one_number(numbers: list[int]) -> None:
    """Whatever is in the way when: after each write there are no more of one number than before, and at the end there are none."""
    held = [revision(number, f"r{place}") for place, number in enumerate(numbers)]
    order = [meta.name(r) for r in revisions.in_order(held)]
    now = {meta.name(r): r["revision"] for r in held}
    changes = revisions.raised(held)
    for changed, number in changes:
        assert number > now[meta.name(changed)]
        assert number not in now.values()
        now[meta.name(changed)] = number
    assert len({*now.values()}) == len(now)
    assert sorted(now, key=lambda name: now[name]) == order
    assert bool(changes) == (len({*numbers}) < len(numbers))
