"""B: the spec of a StatefulSet and its validation, as stock kubectl shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.cli.kube import Refused
from tests.e2e.statefulset.rows import Rows, refused, statefulset

IMMUTABLE = (
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _create(rows: Rows, **spec: Any) -> Any:
    return rows.kubectl.run("create", "-f", "-", stdin=json.dumps(statefulset(replicas=0, **spec)))


def test_b1_defaults(rows: Rows) -> None:
    rows.create(statefulset(replicas=0, serviceName=""))
    rows.patch("statefulsets", "web", {"spec": {"replicas": None}})
    rows.change(replicas=0)
    spec = rows.set()["spec"]
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["revisionHistoryLimit"] == 10
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert rows.patch("statefulsets", "web", {"spec": {"replicas": None}})["spec"]["replicas"] == 1


def test_b2_immutable_fields(rows: Rows) -> None:
    rows.create(statefulset(replicas=0))
    before = rows.set()
    said = refused(rows.kubectl.run("patch", "statefulset", "web", "-p", '{"spec": {"serviceName": "other"}}'))
    assert said == f'The StatefulSet "web" is invalid: {IMMUTABLE}\n'
    assert rows.set()["spec"] == before["spec"]


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 1},
        {"ordinals": {"start": 2}},
        {"template": {"spec": {"terminationGracePeriodSeconds": 7}}},
        {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}},
        {"revisionHistoryLimit": 3},
        {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}},
        {"minReadySeconds": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_b3_mutable_fields(rows: Rows, change: dict[str, Any]) -> None:
    rows.create(statefulset(replicas=0))
    before = rows.set()["metadata"]["generation"]
    assert rows.change(**change)["metadata"]["generation"] == before + 1


def test_b4_selector_rules(rows: Rows) -> None:
    said = refused(_create(rows, selector={}))
    assert "empty selector is invalid for statefulset" in said
    said = refused(_create(rows, selector={"matchLabels": {"app": "other"}}))
    assert "spec.template.metadata.labels: Invalid value:" in said
    assert "`selector` does not match template `labels`" in said


def test_b5_template_rules(rows: Rows) -> None:
    broken = statefulset(replicas=0)
    broken["spec"]["template"]["spec"] |= {"restartPolicy": "OnFailure", "activeDeadlineSeconds": 3}
    said = refused(rows.kubectl.run("create", "-f", "-", stdin=json.dumps(broken)))
    assert 'spec.template.spec.restartPolicy: Unsupported value: "OnFailure": supported values: "Always"' in said
    assert "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported" in said


def test_b6_service_name_is_optional(rows: Rows) -> None:
    without = statefulset(replicas=1)
    del without["spec"]["serviceName"]
    rows.create(without)
    assert "subdomain" not in rows.wait("web-0")["web-0"]["spec"]


def test_b7_start_ordinal(rows: Rows) -> None:
    """Also upstream's StartOrdinal cases: set, raised, lowered, removed."""
    rows.create(statefulset(replicas=3, ordinals={"start": 5}))
    first = rows.wait("web-5", "web-6", "web-7")
    rows.change(ordinals={"start": 6})
    raised = rows.wait("web-6", "web-7", "web-8")
    assert raised["web-7"]["metadata"]["uid"] == first["web-7"]["metadata"]["uid"]
    rows.change(ordinals={"start": 4})
    rows.wait("web-4", "web-5", "web-6")
    rows.change(ordinals=None)
    assert "web-0" in rows.wait("web-0", "web-1", "web-2")


@pytest.mark.parametrize(("bound", "said"), [(0, "cannot be 0"), ("101%", "must not be greater than 100%")])
def test_b8_max_unavailable_is_validated(rows: Rows, bound: Any, said: str) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": bound}}
    assert said in refused(_create(rows, updateStrategy=strategy))


def test_b9_update_strategies(rows: Rows) -> None:
    for kind in ("OnDelete", "Recreate"):
        strategy = {"type": kind, "rollingUpdate": {"partition": 1}}
        assert "only allowed for updateStrategy 'RollingUpdate'" in refused(_create(rows, updateStrategy=strategy))
    assert "must be 'RollingUpdate' or 'OnDelete'" in refused(_create(rows, updateStrategy={"type": "Other"}))
    assert _create(rows, updateStrategy={"type": "Recreate"}).returncode == 0
    for kind in ("OnDelete", "RollingUpdate", "Recreate"):
        assert rows.change(updateStrategy={"type": kind})["spec"]["updateStrategy"]["type"] == kind


def test_b10_scale_is_validated(rows: Rows) -> None:
    rows.create(statefulset(replicas=0))
    said = refused(rows.kubectl.run("patch", "statefulset", "web", "-p", '{"spec": {"replicas": -1}}'))
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in said
    for below in ("", "scale"):
        with pytest.raises(Refused) as error:
            rows.patch("statefulsets", "web", {"spec": {"replicas": -1}}, below=below)
        status = error.value.status
        assert (status["code"], [cause["field"] for cause in status["details"]["causes"]]) == (422, ["spec.replicas"])
    assert rows.set()["spec"]["replicas"] == 0
