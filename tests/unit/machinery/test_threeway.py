"""The patch of ``kubectl apply``: applied to what there was it gives what is wanted, and leaves what others wrote."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.kinds.schemas import schema_of
from holdfast.machinery.strategic import strategic_merge
from holdfast.machinery.threeway import three_way

POD_SPEC = schema_of("io.k8s.api.core.v1.PodSpec")
WORDS = st.sampled_from("abc")


def _by_name(**fields: Any) -> Any:
    return st.lists(st.fixed_dictionaries({"name": WORDS}, optional=fields), max_size=3, unique_by=lambda item: item["name"])


CONTAINERS = _by_name(
    image=WORDS,
    command=st.lists(WORDS, max_size=2),
    env=_by_name(value=WORDS),
    resources=st.fixed_dictionaries({}, optional={"limits": st.dictionaries(WORDS, WORDS, max_size=2)}),
)
VOLUMES = _by_name(emptyDir=st.just({}), configMap=st.fixed_dictionaries({"name": WORDS}))
SPECS = st.fixed_dictionaries({"containers": CONTAINERS}, optional={"volumes": VOLUMES, "nodeSelector": st.dictionaries(WORDS, WORDS)})


@given(SPECS, SPECS)
def test_what_was_applied_becomes_what_is_wanted(former: dict[str, Any], wanted: dict[str, Any]) -> None:
    before = copy.deepcopy((former, wanted))
    assert _full(strategic_merge(POD_SPEC, former, three_way(POD_SPEC, former, wanted))) == _full(wanted)
    assert (former, wanted) == before


@given(SPECS, SPECS)
def test_what_others_wrote_stays(former: dict[str, Any], wanted: dict[str, Any]) -> None:
    live = copy.deepcopy(former)
    live["schedulerName"] = "theirs"
    for container in live["containers"]:
        container["imagePullPolicy"] = "Always"
    live["containers"].append({"name": "sidecar"})
    found = strategic_merge(POD_SPEC, live, three_way(POD_SPEC, former, wanted))
    kept = {item["name"] for item in former["containers"]} & {item["name"] for item in wanted["containers"]}
    assert found["schedulerName"] == "theirs"
    assert {c["name"] for c in found["containers"] if c.get("imagePullPolicy")} == kept
    assert any(container["name"] == "sidecar" for container in found["containers"])


def _full(value: Any) -> Any:
    """Without what is empty: a list or a map that lost its last entry is there still."""
    if isinstance(value, dict):
        found = {key: _full(inner) for key, inner in value.items()}
        return {key: inner for key, inner in found.items() if inner not in ([], {}) or key == "emptyDir"}
    return [_full(item) for item in value] if isinstance(value, list) else value
