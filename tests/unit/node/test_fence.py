"""Who may write to a volume: epochs only grow, nobody gets in beside a holder that is neither released nor revoked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.node.volumes import fence
from holdfast.node.volumes.fence import Fence


def pod(uid: str) -> dict[str, object]:
    return {"metadata": {"name": f"web-{uid}", "namespace": "default", "uid": uid}, "spec": {}}


def volume(text: str | None = None, modes: tuple[str, ...] = ("ReadWriteOnce",)) -> dict[str, object]:
    annotations = {fence.ANNOTATION: text} if text is not None else {}
    return {"metadata": {"name": "pv", "annotations": annotations}, "spec": {"accessModes": list(modes)}}


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "release"]), st.sampled_from(["boot1", "boot2"])))


@given(STEPS)
def test_epochs_grow_and_there_is_one_holder(steps: list[tuple[str, str, str]]) -> None:
    held = Fence()
    holder = ""
    for uid, act, boot in steps:
        if act == "take":
            assert fence.is_held_by_other(held, uid) == (holder not in ("", uid))
            if holder not in ("", uid):
                continue
            taken = fence.taken(held, pod(uid), "node", boot)
            assert taken.epoch == held.epoch + (taken != held)
            assert (taken.podUID, taken.bootID, taken.released) == (uid, boot, False)
            held, holder = taken, uid
        elif holder == uid:
            held, holder = fence.released(held), ""
        assert fence.read(volume(fence.write(held))) == held


def test_taking_twice_in_one_boot_is_one_epoch() -> None:
    first = fence.taken(Fence(), pod("a"), "n", "boot")
    assert fence.taken(first, pod("a"), "n", "boot") is first
    assert fence.taken(first, pod("a"), "n", "later").epoch == 2


def test_an_unreadable_fence_is_no_open_door() -> None:
    assert fence.read(volume()) == Fence()
    for text in ("{", "[]", '{"epoch": 1, "who": 2}', "null"):
        with pytest.raises(ValueError, match="is not a fence"):
            fence.read(volume(text))


def test_shared_modes_are_not_fenced() -> None:
    assert fence.is_exclusive(volume(modes=("ReadWriteOnce",)))
    assert fence.is_exclusive(volume(modes=("ReadWriteOncePod",)))
    assert not fence.is_exclusive(volume(modes=("ReadWriteOnce", "ReadWriteMany")))
    assert not fence.is_exclusive(volume(modes=("ReadOnlyMany",)))
