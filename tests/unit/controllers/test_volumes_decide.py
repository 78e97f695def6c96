"""Which volume a claim takes: reservations, the smallest that fits, and never one that is another's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.volumes.decide import Bind, Phase, Seen, of_claim, of_volume
from holdfast.controllers.volumes.matching import choose, fits, refers
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

STAMP = "2026-01-01T00:00:00Z"


def claim(size: str = "5Gi", name: str = "data", **spec: Any) -> Obj:
    full = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"{name}-uid"}, "spec": full}


def volume(name: str = "pv", size: str = "5Gi", labels: Any = None, dying: bool = False, **spec: Any) -> Obj:
    metadata: Obj = {"name": name, "labels": labels or {}}
    if dying:
        metadata["deletionTimestamp"] = STAMP
    whole = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], **spec}
    return {"metadata": metadata, "spec": whole, "status": {"phase": "Available"}}


def reference(name: str = "data", uid: str | None = None, namespace: str = "ns") -> Obj:
    return {"namespace": namespace, "name": name, **({} if uid is None else {"uid": uid})}


def chosen(wanted: Obj, *volumes: Obj) -> str:
    step = of_claim(wanted, Seen({meta.name(v): v for v in volumes}))
    return meta.name(step.volume) if isinstance(step, Bind) else ""


@pytest.mark.parametrize(
    ("of_volume", "of_claim", "fit"),
    [
        ({}, {}, True),
        ({"size": "4Gi"}, {}, False),
        ({"size": "6G"}, {}, True),
        ({"size": "5G"}, {}, False),
        ({"storageClassName": "fast"}, {}, False),
        ({"storageClassName": "fast"}, {"storageClassName": "fast"}, True),
        ({"storageClassName": "fast"}, {"storageClassName": "slow"}, False),
        ({}, {"storageClassName": ""}, True),
        ({}, {"storageClassName": "fast"}, False),
        ({"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}, {"accessModes": ["ReadWriteMany"]}, True),
        ({}, {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}, False),
        ({"volumeMode": "Block"}, {}, False),
        ({"volumeMode": "Block"}, {"volumeMode": "Block"}, True),
        ({"volumeMode": "Filesystem"}, {}, True),
        ({"volumeMode": None}, {"volumeMode": "Filesystem"}, True),
        ({"volumeAttributesClassName": "gold"}, {}, False),
        ({"volumeAttributesClassName": "gold"}, {"volumeAttributesClassName": "gold"}, True),
        ({"labels": {"tier": "a"}}, {"selector": {"matchLabels": {"tier": "a"}}}, True),
        ({"labels": {"tier": "b"}}, {"selector": {"matchLabels": {"tier": "a"}}}, False),
        ({}, {"selector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}}, True),
        ({}, {"selector": {}}, True),
    ],
)
def test_what_must_agree(of_volume: Obj, of_claim: Obj, fit: bool) -> None:
    assert fits(volume(**of_volume), claim(**of_claim)) is fit
    assert chosen(claim(**of_claim), volume(**of_volume)) == ("pv" if fit else "")


def test_the_smallest_that_fits_and_ties_by_name() -> None:
    offered = [volume("big", "20Gi"), volume("b", "6Gi"), volume("a", "6144Mi"), volume("small", "1Gi")]
    assert chosen(claim(), *offered) == "a"
    assert chosen(claim("7Gi"), *offered) == "big"
    assert chosen(claim("30Gi"), *offered) == ""


def test_neither_a_dying_nor_anothers_volume_is_taken() -> None:
    assert chosen(claim(), volume(dying=True)) == ""
    assert chosen(claim(), volume(claimRef=reference("other"))) == ""
    assert chosen(claim(), volume(claimRef=reference(namespace="elsewhere"))) == ""
    assert chosen(claim(), volume(claimRef=reference(uid="of the one before"))) == ""


# Reservations: the volume names the claim


def test_a_reserved_volume_comes_before_a_smaller_free_one() -> None:
    reserved = volume("mine", "50Gi", claimRef=reference(), storageClassName="other")
    assert chosen(claim(selector={"matchLabels": {"no": "match"}}), volume("free"), reserved) == "mine"


@pytest.mark.parametrize("fault", [{"size": "1Gi"}, {"volumeMode": "Block"}, {"accessModes": ["ReadOnlyMany"]}])
def test_a_reserved_volume_must_still_serve(fault: Obj) -> None:
    reserved = volume("mine", claimRef=reference(), **fault)
    assert chosen(claim(), reserved) == ""
    assert chosen(claim(), reserved, volume("free")) == "free"


def test_a_binding_that_was_begun_is_finished() -> None:
    begun = volume("z", "1Gi", claimRef=reference(uid="data-uid"))
    assert chosen(claim(), volume("free"), volume("a", claimRef=reference()), begun) == "z"


@pytest.mark.parametrize(
    ("found", "same"),
    [
        (None, False),
        (reference(), True),
        (reference(uid=""), True),
        (reference(uid="data-uid"), True),
        (reference(uid="another"), False),
        (reference("other"), False),
        (reference(namespace="other"), False),
    ],
)
def test_a_reference_means_one_very_claim(found: Obj | None, same: bool) -> None:
    assert refers(volume(claimRef=found), claim()) is same


# The claim names the volume


def test_a_named_volume_or_none() -> None:
    wanted = claim(volumeName="pv", selector={"matchLabels": {"no": "match"}})
    assert chosen(wanted, volume("a"), volume("pv", "50Gi")) == "pv"
    assert chosen(wanted, volume("a")) == ""
    assert chosen(wanted, volume("a"), volume(claimRef=reference("other"))) == ""
    assert chosen(wanted, volume(claimRef=reference())) == "pv"
    assert chosen(wanted, volume(dying=True)) == ""


@pytest.mark.parametrize(
    "fault", [{"size": "1Gi"}, {"storageClassName": "x"}, {"volumeMode": "Block"}, {"accessModes": ["ReadOnlyMany"]}]
)
def test_a_named_volume_must_suit_unless_it_is_reserved(fault: Obj) -> None:
    assert chosen(claim(volumeName="pv"), volume(**fault)) == ""
    assert chosen(claim(volumeName="pv"), volume(claimRef=reference(uid="data-uid"), **fault)) == "pv"


# Phases


@pytest.mark.parametrize(
    ("found", "holder", "phase"),
    [
        (None, None, "Available"),
        (reference(), None, "Available"),
        (reference(uid=""), claim(), "Available"),
        (reference(uid="data-uid"), claim(), "Bound"),
        (reference(uid="data-uid"), None, "Released"),
        (reference(uid="of the one before"), claim(), "Released"),
    ],
)
def test_phases(found: Obj | None, holder: Obj | None, phase: str) -> None:
    held = {**holder, "spec": {**holder["spec"], "volumeName": "pv"}} if holder else None
    assert of_volume(volume(claimRef=found), held) == Phase(phase)


sizes = st.integers(1, 9).map(lambda n: f"{n}Gi")


@given(st.lists(sizes, max_size=6), st.lists(sizes, max_size=6))
def test_one_claim_to_one_volume_whatever_comes(offered: list[str], asked: list[str]) -> None:
    volumes = [volume(f"pv{i}", size) for i, size in enumerate(offered)]
    taken: dict[str, str] = {}
    for number, size in enumerate(asked):
        wanted = claim(size, f"c{number}")
        found = choose(wanted, volumes)
        free = [v for v in volumes if meta.name(v) not in taken and fits(v, wanted)]
        assert (found is None) is (not free)
        if found is None:
            continue
        assert meta.name(found) not in taken, "never two claims on one volume"
        assert all(found["spec"]["capacity"]["storage"] <= v["spec"]["capacity"]["storage"] for v in free)
        taken[meta.name(found)] = meta.uid(wanted)
        found["spec"]["claimRef"] = reference(meta.name(wanted), meta.uid(wanted))
        assert choose(wanted, volumes) is found, "asked again, the answer is the same"
