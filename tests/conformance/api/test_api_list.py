"""API-7 to API-24: lists at any revision, in pages of one revision, and what selects from them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.conformance.api.following import revision
from tests.conformance.api.spaces import Space, causes, pod, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")
Obj = dict[str, Any]
TOO_OLD = "The provided continue parameter is too old to display a consistent list result."
LABELLED = {"kept": "yes"}


async def _filled(space: Space, names: str = "abcde") -> list[Obj]:
    """One ConfigMap for each letter, labelled apart from what controllers put into a namespace."""
    return [await space.config_map(name, labels=LABELLED | {"n": str(n)}) for n, name in enumerate(names)]


async def _listed(space: Space, plural: str = "secrets", **query: str | int) -> Obj:
    return await space.got(f"{space.at(plural)}?{urlencode(query)}")


async def _secret(space: Space, name: str, **labels: str) -> Obj:
    """Of a kind that no controller writes: lists and counts of it are the test's alone."""
    return await space.made(
        space.at("secrets"),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}, "stringData": {"k": "1"}},
    )


async def _secrets(space: Space, count: int) -> list[Obj]:
    return [await _secret(space, f"s{number:02}", n=str(number), odd=str(number % 2)) for number in range(count)]


async def _changed(space: Space, name: str) -> Obj:
    answer = await space.api.patch(space.at("secrets", name), {"stringData": {"k": "2"}})
    assert answer.status == 200, answer.raw
    found: Obj = answer.body
    return found


def _names(listed: Obj) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def _revisions(listed: Obj) -> list[int]:
    return [revision(item) for item in listed["items"]]


async def test_api_7_a_list_shows_every_write_that_was_answered(space: Space) -> None:
    for number in range(10):
        made = await _secret(space, f"s{number}")
        listed = await _listed(space)
        assert _names(listed) == [f"s{n}" for n in range(number + 1)]
        assert revision(listed) >= revision(made)
    await space.api.delete(space.at("secrets", "s3"))
    assert "s3" not in _names(await _listed(space))


async def test_api_8_revision_0_takes_what_is_at_hand_whole(space: Space) -> None:
    await _secrets(space, 5)
    listed = await _listed(space, resourceVersion=0, limit=2)
    assert len(listed["items"]) == 5
    assert not {"continue", "remainingItemCount"} & set(listed["metadata"])


async def test_api_9_a_revision_alone_is_a_lower_bound_and_with_a_limit_exact(space: Space) -> None:
    made = await _secrets(space, 3)
    then = revision(made[-1])
    changed = await _changed(space, "s01")
    now = await _listed(space, resourceVersion=then)
    assert revision(changed) in _revisions(now)
    past = await _listed(space, resourceVersion=then, limit=2)
    assert revision(past) == then
    assert past["items"] == [{n: v for n, v in one.items() if n not in ("kind", "apiVersion")} for one in made[:2]]


async def test_api_10_an_exact_list_is_the_past(space: Space) -> None:
    made = await _secrets(space, 3)
    then = revision(made[-1])
    await _changed(space, "s00")
    await space.api.delete(space.at("secrets", "s01"))
    await _secret(space, "s09")
    for _ in range(2):
        past = await _listed(space, resourceVersion=then, resourceVersionMatch="Exact")
        assert (_names(past), _revisions(past), revision(past)) == (["s00", "s01", "s02"], [revision(one) for one in made], then)
    assert _names(await _listed(space)) == ["s00", "s02", "s09"]


async def test_api_10_a_compacted_past_is_gone(space: Space) -> None:
    made = await _secrets(space, 2)
    await _changed(space, "s00")
    store = space.api.registry.store
    await store.compact(store.revision)
    answer = await space.api.get(space.at("secrets") + f"?resourceVersion={revision(made[0])}&resourceVersionMatch=Exact")
    assert refusal(answer) == (410, "Expired", "The resourceVersion for the provided list is too old.")
    newest = await _listed(space, resourceVersion=store.revision, resourceVersionMatch="Exact")
    assert _names(newest) == ["s00", "s01"]


async def test_api_11_not_older_than_is_at_least_as_new(space: Space) -> None:
    made = await _secrets(space, 3)
    changed = await _changed(space, "s02")
    for query in ({}, {"limit": 2}):
        listed = await _listed(space, resourceVersion=revision(made[0]), resourceVersionMatch="NotOlderThan", **query)
        assert revision(listed) >= revision(changed)
        assert revision(changed) in _revisions(listed)


FORBIDDEN = ("FieldValueForbidden", "resourceVersionMatch")
MISMATCHES = [
    ("12", "resourceVersionMatch=Exact", FORBIDDEN, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
    ("12", "resourceVersionMatch=NotOlderThan", FORBIDDEN, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
    ("13", "resourceVersion=5&resourceVersionMatch=Exact&continue=x", FORBIDDEN, "is forbidden when continue is provided"),
    (
        "14",
        "resourceVersion=0&resourceVersionMatch=Exact",
        FORBIDDEN,
        'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
    ),
    (
        "15",
        "resourceVersion=5&resourceVersionMatch=Newest",
        ("FieldValueNotSupported", "resourceVersionMatch"),
        'Unsupported value: "Newest": supported values: "Exact", "NotOlderThan", ""',
    ),
    ("16", "sendInitialEvents=true", ("FieldValueForbidden", "sendInitialEvents"), "sendInitialEvents is forbidden for list"),
    ("16", "sendInitialEvents=false", ("FieldValueForbidden", "sendInitialEvents"), "sendInitialEvents is forbidden for list"),
]


async def _mismatched(space: Space, number: str) -> None:
    for _, query, cause, text in (case for case in MISMATCHES if case[0] == number):
        answer = await space.api.get(f"{space.at('secrets')}?{query}")
        code, reason, message = refusal(answer)
        assert (code, reason) == (422, "Invalid")
        assert message.startswith('ListOptions.meta.k8s.io "" is invalid: ')
        assert text in message
        assert causes(answer) == [cause]


async def test_api_12_a_match_needs_a_revision(space: Space) -> None:
    await _mismatched(space, "12")


async def test_api_13_a_match_is_not_for_later_pages(space: Space) -> None:
    await _mismatched(space, "13")


async def test_api_14_any_revision_is_no_exact_one(space: Space) -> None:
    await _mismatched(space, "14")


async def test_api_15_a_match_is_one_of_two(space: Space) -> None:
    await _mismatched(space, "15")


async def test_api_16_initial_events_are_for_watches(space: Space) -> None:
    await _mismatched(space, "16")


async def test_api_17_lists_have_a_revision_and_an_order(space: Space) -> None:
    empty = await _listed(space)
    assert empty["items"] == []
    assert (empty["kind"], empty["apiVersion"]) == ("SecretList", "v1")
    for name in ("b", "a-b", "a", "a.b", "a0", "c"):
        made = await _secret(space, name, every="one")
        listed = await _listed(space)
        assert revision(listed) >= max(_revisions(listed)) == revision(made)
        assert _names(listed) == sorted(_names(listed))
        assert not any({"kind", "apiVersion"} & set(item) for item in listed["items"])
    everywhere = (await space.api.get("/api/v1/secrets")).body
    keys = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in everywhere["items"]]
    assert keys == sorted(keys)


async def test_api_18_a_page_holds_no_more_than_its_limit(space: Space) -> None:
    await _secrets(space, 5)
    first = await _listed(space, limit=2)
    assert (_names(first), first["metadata"]["remainingItemCount"]) == (["s00", "s01"], 3)
    second = await _listed(space, limit=2, **{"continue": first["metadata"]["continue"]})
    assert (_names(second), second["metadata"]["remainingItemCount"]) == (["s02", "s03"], 1)
    last = await _listed(space, limit=2, **{"continue": second["metadata"]["continue"]})
    assert (_names(last), set(last["metadata"])) == (["s04"], {"resourceVersion"})
    exactly = await _listed(space, limit=5)
    assert (len(exactly["items"]), set(exactly["metadata"])) == (5, {"resourceVersion"})


async def test_api_18_with_a_selector_nobody_counts_the_rest(space: Space) -> None:
    await _secrets(space, 6)
    first = await _listed(space, limit=2, labelSelector="odd=1")
    assert _names(first) == ["s01", "s03"]
    assert "remainingItemCount" not in first["metadata"]
    rest = await _listed(space, limit=2, labelSelector="odd=1", **{"continue": first["metadata"]["continue"]})
    assert _names(rest) == ["s05"]
    assert "continue" not in rest["metadata"]


async def test_api_19_pages_show_one_revision_whatever_is_written(space: Space) -> None:
    before = _revisions(await _listed(space)) + [revision(one) for one in await _secrets(space, 12)]
    going = True

    async def writing(lane: int) -> None:
        number = 0
        while going:
            number += 1
            await _changed(space, f"s{lane:02}")
            await _secret(space, f"s{lane:02}-{number}")
            await space.api.delete(space.at("secrets", f"s{lane + 3:02}"))

    first = await _listed(space, limit=1)
    writers = [asyncio.create_task(writing(lane)) for lane in range(3)]
    seen, page = _revisions(first), first
    while "continue" in page["metadata"]:
        page = await _listed(space, limit=2, **{"continue": page["metadata"]["continue"]})
        assert revision(page) == revision(first)
        seen += _revisions(page)
    going = False
    await asyncio.gather(*writers)
    assert seen == before
    assert _names(await _listed(space)) != [f"s{n:02}" for n in range(12)]


async def test_api_20_a_token_knows_its_revision(space: Space) -> None:
    await _secrets(space, 3)
    token = (await _listed(space, limit=1))["metadata"]["continue"]
    for version in (1, 5):
        answer = await space.api.get(f"{space.at('secrets')}?limit=1&continue={token}&resourceVersion={version}")
        assert refusal(answer) == (400, "BadRequest", "specifying resource version is not allowed when using continue")
    assert _names(await _listed(space, resourceVersion=0, **{"continue": token})) == ["s01", "s02"]


async def test_api_21_an_expired_continue_brings_one_that_works(space: Space) -> None:
    await _secrets(space, 6)
    first = await _listed(space, limit=2)
    await _changed(space, "s04")
    await space.api.delete(space.at("secrets", "s03"))
    await _secret(space, "s00-new")
    await _secret(space, "s99")
    store = space.api.registry.store
    await store.compact(store.revision)
    answer = await space.api.get(f"{space.at('secrets')}?limit=2&continue={first['metadata']['continue']}")
    code, reason, message = refusal(answer)
    assert (code, reason) == (410, "Expired")
    assert message.startswith(TOO_OLD)
    token, found = answer.body["metadata"]["continue"], []
    while token:
        page = await _listed(space, limit=2, **{"continue": token})
        assert revision(page) > revision(first)
        found += _names(page)
        token = page["metadata"].get("continue", "")
    assert found == ["s02", "s04", "s05", "s99"]


def _token(**parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()


GARBAGE = [
    "x", "!!!", "%FF", "eyJ", "bnVsbA", "W10",
    _token(v="meta.k8s.io/v1", rv=1), _token(v="meta.k8s.io/v1", rv=0, start="a"), _token(v="meta.k8s.io/v1", rv="1", start="a"),
    _token(v="meta.k8s.io/v9", rv=1, start="a"), _token(v="meta.k8s.io/v1", rv=2**70, start="a"),
    _token(v="meta.k8s.io/v1", rv=1, start="../../pods/kube-system/a\0"), _token(v="meta.k8s.io/v1", rv=1, start="/a"),
]  # fmt: skip


@pytest.mark.parametrize("token", GARBAGE)
async def test_api_22_a_token_nobody_gave_is_refused(space: Space, token: str) -> None:
    code, reason, message = refusal(await space.api.get(f"{space.at('secrets')}?limit=1&continue={token}"))
    assert (code, reason) == (400, "BadRequest")
    assert message.startswith("invalid continue token: continue key is not valid: ")


async def test_api_22_a_token_leads_nowhere_else(space: Space) -> None:
    await _secrets(space, 2)
    token = (await _listed(space, limit=1))["metadata"]["continue"]
    elsewhere = await space.api.get(f"/api/v1/namespaces/kube-system/secrets?limit=1&continue={token}")
    assert elsewhere.status == 200
    assert {item["metadata"]["namespace"] for item in elsewhere.body["items"]} <= {"kube-system"}


SELECTED = [
    ("n=2", "c"), ("n==2", "c"), ("n!=2", "abde"), ("n in (1,3)", "bd"), ("n notin (1,3)", "ace"), ("n", "abcde"), ("!n", ""),
    ("n>2", "de"), ("n<2", "ab"), ("n>0,n<3", "bc"), (" n  in ( 1 , 2 ) ", "bc"), ("n=", ""), ("absent!=x", "abcde"),
]  # fmt: skip


async def test_api_23_labels_select(space: Space) -> None:
    await _filled(space)
    for selector, names in SELECTED:
        listed = await _listed(space, "configmaps", labelSelector=f"kept=yes,{selector}")
        assert "".join(_names(listed)) == names, selector
    both = await _listed(space, "configmaps", labelSelector="n in (1,2,3)", fieldSelector="metadata.name!=c")
    assert _names(both) == ["b", "d"]


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("n in", "unable to parse requirement: found '' expected: '('"),
        ("n in (1", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("-bad=x", 'unable to parse requirement: <nil>: Invalid value: "-bad": name part must consist of alphanumeric characters'),
        ("n>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"),
        ("a=" + "v" * 64, "must be no more than 63 bytes"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
    ],
)
async def test_api_23_bad_syntax_is_named(space: Space, selector: str, text: str) -> None:
    for query in ("", "&watch=1&timeoutSeconds=1"):
        code, reason, message = refusal(await space.api.get(f"{space.at('secrets')}?labelSelector={quote(selector)}{query}"))
        assert (code, reason) == (400, "BadRequest")
        assert text in message


async def test_api_24_some_fields_select(space: Space) -> None:
    await space.bound_pod("p")
    await space.made(space.at("pods"), pod("q"))
    for selector, names in (
        ("metadata.name=p", ["p"]),
        ("metadata.name!=p", ["q"]),
        ("spec.nodeName=n1", ["p"]),
        ("spec.nodeName=", ["q"]),
        ("status.phase=Pending,spec.restartPolicy=Always", ["p", "q"]),
        (f"metadata.namespace=={space.name}", ["p", "q"]),
        ("metadata.namespace=other", []),
    ):
        assert _names(await _listed(space, "pods", fieldSelector=selector)) == names, selector
    everywhere = await space.got("/api/v1/pods?" + urlencode({"fieldSelector": f"metadata.name=p,metadata.namespace={space.name}"}))
    assert [item["metadata"]["namespace"] for item in everywhere["items"]] == [space.name]


@pytest.mark.parametrize(
    ("plural", "selector", "text"),
    [
        ("pods", "spec.containers=x", "field label not supported: spec.containers"),
        ("secrets", "data.k=1", "field label not supported: data.k"),
        ("configmaps", "data.a=1", '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("pods", "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
    ],
)
async def test_api_24_other_fields_are_refused(space: Space, plural: str, selector: str, text: str) -> None:
    for query in ("", "&watch=1&timeoutSeconds=1"):
        answer = await space.api.get(f"{space.at(plural)}?fieldSelector={quote(selector)}{query}")
        assert refusal(answer) == (400, "BadRequest", text)
