"""What becomes of an object when its owners go: it stays while one lives, and nothing is concluded from what is not known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.controllers.garbage.decide import Owner, Verdict, blocks, decide
from holdfast.kinds.kind import Obj

STATES = st.lists(st.sampled_from(list(Owner)), min_size=1, max_size=4)


def owned(states: list[Owner], finalizers: tuple[str, ...] = ()) -> tuple[Obj, dict[str, Owner]]:
    references = [{"uid": str(n), "blockOwnerDeletion": n == 0} for n in range(len(states))]
    metadata = {"name": "x", "uid": "own", "ownerReferences": references, "finalizers": list(finalizers)}
    return {"metadata": metadata}, {str(n): state for n, state in enumerate(states)}


@given(STATES, st.booleans())
def test_nothing_goes_while_an_owner_lives_or_is_unknown(states: list[Owner], has_dependents: bool) -> None:
    obj, owners = owned(states)
    verdict = decide(obj, owners, has_dependents=has_dependents)
    if Owner.UNKNOWN in states:
        assert verdict == Verdict()
    elif Owner.LIVES in states:
        assert verdict.policy == ""
        kept = obj["metadata"]["ownerReferences"] if verdict.keep is None else verdict.keep
        assert [owners[r["uid"]] for r in kept] == [Owner.LIVES] * states.count(Owner.LIVES)
    else:
        assert verdict.policy == ("Foreground" if Owner.WAITS in states and has_dependents else "Background")


def test_a_deletion_keeps_the_manner_it_was_begun_in() -> None:
    for finalizer, policy in (("orphan", "Orphan"), ("foregroundDeletion", "Foreground")):
        obj, owners = owned([Owner.GONE], (finalizer,))
        assert decide(obj, owners, has_dependents=False).policy == policy


def test_what_nobody_owns_or_what_is_going_is_left() -> None:
    assert decide({"metadata": {"name": "x"}}, {}, has_dependents=False) == Verdict()
    obj, owners = owned([Owner.GONE])
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert decide(obj, owners, has_dependents=False) == Verdict()


def test_only_a_blocking_reference_blocks() -> None:
    obj, _ = owned([Owner.LIVES, Owner.LIVES])
    assert blocks(obj, {"metadata": {"uid": "0"}})
    assert not blocks(obj, {"metadata": {"uid": "1"}})
