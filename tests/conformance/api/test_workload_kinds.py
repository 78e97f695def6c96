"""Deployment, ReplicaSet, DaemonSet, Job, CronJob, autoscalers, budgets, quotas: served over HTTP, guarded on update."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.kinds import resources
from holdfast.kinds.kind import Resource
from tests.conformance.api.golden import records
from tests.serving import STORES, Answer, Api, api_server

pytestmark = pytest.mark.parametrize("store", STORES)
Obj = dict[str, Any]
NAMESPACE = "default"
AS_TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def api(tmp_path, store) -> AsyncIterator[Api]:
    async with api_server(tmp_path, store, pod_security="privileged") as server:
        yield server


def template(label: str = "a", **spec: Any) -> Obj:
    return {"metadata": {"labels": {"app": label}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]} | spec}


def selected(**spec: Any) -> Obj:
    return {"selector": {"matchLabels": {"app": "a"}}, "template": template()} | spec


def to_end(**spec: Any) -> Obj:
    return {"template": template(restartPolicy="Never")} | spec


TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}
SPECS: list[tuple[Resource, Obj, Obj, Obj]] = [
    # resource, spec, a change of it, a status
    (resources.DEPLOYMENTS, selected(), {"replicas": 3}, {"replicas": 9}),
    (resources.REPLICASETS, selected(), {"replicas": 3}, {"replicas": 9}),
    (resources.DAEMONSETS, selected(), {"minReadySeconds": 3}, {"numberReady": 1}),
    (resources.REPLICATIONCONTROLLERS, {"template": template()}, {"replicas": 3}, {"replicas": 9}),
    (resources.JOBS, to_end(), {"parallelism": 3}, {"active": 9}),
    (
        resources.CRONJOBS,
        {"schedule": "* * * * *", "jobTemplate": {"spec": to_end()}},
        {"suspend": True},
        {"lastScheduleTime": "2001-01-01T00:00:00Z"},
    ),
    (resources.RESOURCEQUOTAS, {"hard": {"pods": "1"}}, {"hard": {"pods": "2"}}, {"used": {"pods": "1"}}),
    (resources.AUTOSCALERS, {"scaleTargetRef": TARGET, "maxReplicas": 2}, {"maxReplicas": 3}, {"currentReplicas": 1}),
    (resources.AUTOSCALERS_V1, {"scaleTargetRef": TARGET, "maxReplicas": 2}, {"maxReplicas": 3}, {"currentReplicas": 1}),
]
COUNTED = {r for r, *_ in SPECS} - {resources.RESOURCEQUOTAS, resources.AUTOSCALERS, resources.AUTOSCALERS_V1}
"""Kinds whose generation counts."""
FOLLOWED = {resources.DEPLOYMENTS, resources.REPLICASETS, resources.REPLICATIONCONTROLLERS, resources.JOBS}
"""Kinds whose controller reports too: it never says nine, but says something soon."""


def made(resource: Resource, spec: Obj, name: str = "a", **metadata: Any) -> Obj:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name} | metadata, "spec": spec}


async def create(api: Api, resource: Resource, spec: Obj, name: str = "a", **metadata: Any) -> Obj:
    answer = await api.post(resource.path(NAMESPACE), made(resource, spec, name, **metadata))
    assert answer.status == 201, answer.raw
    obj: Obj = answer.body
    return obj


async def patch(api: Api, resource: Resource, change: Obj, subresource: str = "") -> Answer:
    return await api.patch(resource.path(NAMESPACE, "a", subresource), change)


def faults(answer: Answer) -> list[str]:
    assert (answer.status, answer.body["reason"]) == (422, "Invalid"), answer.raw
    return [f"{cause['field']}: {cause['message']}" for cause in answer.body["details"]["causes"]]


@pytest.mark.parametrize(("resource", "spec", "change", "status"), SPECS, ids=[f"{r.plural}-{r.version}" for r, *_ in SPECS])
async def test_spec_and_status_are_written_apart(api: Api, resource: Resource, spec: Obj, change: Obj, status: Obj) -> None:
    answer = await api.post(resource.path(NAMESPACE), made(resource, spec) | {"status": status})
    assert answer.status == 201, answer.raw
    idle = [f'299 - "no controller acts on objects of kind {resource.kind} yet"']
    assert answer.warnings == ([] if resource in FOLLOWED else idle)
    born = answer.body
    assert not any(born["status"].get(name) == value for name, value in status.items())
    generation = 1 if resource in COUNTED else None
    assert born["metadata"].get("generation") == generation

    changed = (await patch(api, resource, {"spec": change, "status": status})).body
    assert change.items() <= changed["spec"].items()
    if resource in FOLLOWED:
        assert not any(changed["status"].get(name) == value for name, value in status.items())
    else:
        assert changed["status"] == born["status"]
    assert changed["metadata"].get("generation") == (2 if generation else None)

    reported = (await patch(api, resource, {"spec": spec, "status": status}, "status")).body
    assert reported["spec"] == changed["spec"]
    assert status.items() <= reported["status"].items()
    assert reported["metadata"].get("generation") == (2 if generation else None)
    kept = (await api.get(resource.path(NAMESPACE, "a"))).body
    assert kept["spec"] == reported["spec"]
    assert resource in FOLLOWED or kept == reported

    table = (await api.get(resource.path(NAMESPACE), **AS_TABLE)).body
    assert [row["cells"][0] for row in table["rows"]] == ["a"]
    assert (await api.delete(resource.path(NAMESPACE, "a"))).status == 200


async def test_discovery_shows_them_as_recorded(api: Api) -> None:
    ours = {resource.qualified for resource, *_ in SPECS} | {
        "podtemplates",
        "limitranges",
        "componentstatuses",
        "poddisruptionbudgets.policy",
    }
    documents = 0
    for record in records("discovery"):
        body, path = record["response"].get("body"), record["request"]["path"]
        if not isinstance(body, dict) or body.get("kind") != "APIResourceList" or path.rpartition("/")[2] not in ("v1", "v2"):
            continue
        group = body["groupVersion"].rpartition("/")[0]
        wanted = {
            entry["name"]: {name: value for name, value in entry.items() if name != "storageVersionHash"}
            for entry in body["resources"]
            if (entry["name"].partition("/")[0] + (f".{group}" if group else "")) in ours
        }
        if not wanted:
            continue
        documents += 1
        found = {entry["name"]: entry for entry in (await api.get(path)).body["resources"]}
        for name, entry in wanted.items():
            assert {key: value for key, value in found[name].items() if key != "storageVersionHash"} == entry
    assert documents == 5  # core, apps, batch, autoscaling, policy


async def test_component_statuses_are_for_reading(api: Api) -> None:
    path = resources.COMPONENTSTATUSES.path()
    answer = await api.get(path)
    assert (answer.status, answer.body["items"]) == (200, [])
    assert answer.warnings == ['299 - "v1 ComponentStatus is deprecated in v1.19+"']
    assert (await api.post(path, {"metadata": {"name": "a"}})).status == 405
    assert (await api.get(path + "/a")).status == 404


@pytest.mark.parametrize("resource", [resources.DEPLOYMENTS, resources.REPLICASETS, resources.DAEMONSETS], ids=lambda r: r.plural)
async def test_a_selector_is_chosen_once(api: Api, resource: Resource) -> None:
    await create(api, resource, selected())
    other = {"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}
    assert faults(await patch(api, resource, {"spec": other})) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable'
    ]


async def test_templates_of_a_daemon_set_are_counted(api: Api) -> None:
    counter = "deprecated.daemonset.template.generation"
    born = await create(api, resources.DAEMONSETS, selected(), annotations={counter: "7"})
    assert born["metadata"]["annotations"] == {counter: "1"}
    same = (await patch(api, resources.DAEMONSETS, {"spec": {"minReadySeconds": 1}})).body
    assert same["metadata"]["annotations"] == {counter: "1"}
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}
    assert (await patch(api, resources.DAEMONSETS, image)).body["metadata"]["annotations"] == {counter: "2"}


@pytest.mark.parametrize(
    "resource", [resources.DEPLOYMENTS, resources.REPLICASETS, resources.REPLICATIONCONTROLLERS], ids=lambda r: r.plural
)
async def test_scale_shows_and_sets_the_number_of_pods(api: Api, resource: Resource) -> None:
    plain = resource is resources.REPLICATIONCONTROLLERS
    await create(api, resource, {"selector": {"app": "a"}, "template": template()} if plain else selected())
    scale = (await api.get(resource.path(NAMESPACE, "a", "scale"))).body
    assert (scale["spec"], scale["status"]["selector"]) == ({"replicas": 1}, "app=a")
    assert scale["status"]["replicas"] in (0, 1)  # its controller may have been quicker
    assert (await patch(api, resource, {"spec": {"replicas": 5}}, "scale")).body["spec"] == {"replicas": 5}
    found = (await api.get(resource.path(NAMESPACE, "a"))).body
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)


async def test_a_job_selects_its_own_pods_and_keeps_them(api: Api) -> None:
    job = await create(api, resources.JOBS, to_end())
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    assert job["metadata"]["labels"]["app"] == "a"
    assert job["metadata"]["labels"]["job-name"] == "a"
    assert faults(await patch(api, resources.JOBS, {"spec": {"completions": 2}})) == [
        "spec.completions: Invalid value: 2: field is immutable"
    ]
    (fault,) = faults(await patch(api, resources.JOBS, {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}))
    assert fault.startswith("spec.template: Invalid value: ")
    assert fault.endswith(": field is immutable")
    assert (await patch(api, resources.JOBS, {"spec": {"parallelism": 2, "suspend": True}})).status == 200


async def test_a_waiting_job_may_still_be_told_where_to_run(api: Api) -> None:
    await create(api, resources.JOBS, to_end(suspend=True))
    steered = (await patch(api, resources.JOBS, {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}})).body
    assert steered["spec"]["template"]["spec"]["nodeSelector"] == {"a": "b"}
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}
    assert (await patch(api, resources.JOBS, image)).status == 422


async def test_a_selector_somebody_else_made_is_refused(api: Api) -> None:
    labels = {"batch.kubernetes.io/controller-uid": "x"}
    spec = to_end(selector={"matchLabels": labels})
    found = faults(await api.post(resources.JOBS.path(NAMESPACE), made(resources.JOBS, spec)))
    assert any(fault.startswith("spec.selector: ") and fault.endswith("`selector` not auto-generated") for fault in found)
    manual = to_end(selector={"matchLabels": {"app": "a"}}, manualSelector=True)
    assert (await create(api, resources.JOBS, manual))["spec"]["selector"] == {"matchLabels": {"app": "a"}}


async def test_an_indexed_job_grows_and_shrinks_as_a_whole(api: Api) -> None:
    await create(api, resources.JOBS, to_end(completionMode="Indexed", completions=2, parallelism=2))
    assert faults(await patch(api, resources.JOBS, {"spec": {"completions": 3}})) == [
        "spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"
    ]
    assert (await patch(api, resources.JOBS, {"spec": {"completions": 3, "parallelism": 3}})).status == 200


async def test_what_a_job_has_reported_stays_reported(api: Api) -> None:
    await create(api, resources.JOBS, to_end(managedBy="x.io/mine"))  # ours would have begun with it
    done = {"failed": 2, "startTime": "2001-01-01T00:00:00Z", "conditions": [{"type": "Complete", "status": "True"}]}
    assert (await patch(api, resources.JOBS, {"status": done}, "status")).status == 200
    undone = {"failed": 1, "startTime": None, "conditions": [{"type": "Complete", "status": "False"}]}
    assert faults(await patch(api, resources.JOBS, {"status": undone}, "status")) == [
        "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
        "status.failed: Invalid value: 1: cannot decrease the failed counter",
        "status.startTime: Required value: startTime cannot be removed for unsuspended job",
    ]


async def test_names_that_children_could_not_bear_are_refused(api: Api) -> None:
    spec = {"schedule": "@daily", "jobTemplate": {"spec": to_end()}}
    answer = await api.post(resources.CRONJOBS.path(NAMESPACE), made(resources.CRONJOBS, spec, "c" * 53))
    assert faults(answer) == [f'metadata.name: Invalid value: "{"c" * 53}": must be no more than 52 characters']
    indexed = to_end(completionMode="Indexed", completions=10)
    (fault,) = faults(await api.post(resources.JOBS.path(NAMESPACE), made(resources.JOBS, indexed, "j.x")))
    assert fault == 'metadata.name: Invalid value: "j.x": will not able to create pod with invalid DNS label: j.x-9'


async def test_scopes_of_a_quota_stay(api: Api) -> None:
    await create(api, resources.RESOURCEQUOTAS, {"hard": {"pods": "1"}, "scopes": ["BestEffort"]})
    assert faults(await patch(api, resources.RESOURCEQUOTAS, {"spec": {"scopes": ["NotBestEffort"]}})) == [
        'spec.scopes: Invalid value: ["NotBestEffort"]: field is immutable'
    ]


METRICS = "autoscaling.alpha.kubernetes.io/metrics"


async def test_one_autoscaler_in_two_versions(api: Api) -> None:
    pods = {"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "10"}}}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 4, "metrics": [pods, cpu], "behavior": {"scaleUp": {"selectPolicy": "Min"}}}
    born = await create(api, resources.AUTOSCALERS, spec)
    older = (await api.get(resources.AUTOSCALERS_V1.path(NAMESPACE, "a"))).body
    assert older["apiVersion"] == "autoscaling/v1"
    assert older["metadata"]["uid"] == born["metadata"]["uid"]
    assert older["spec"] == {
        "scaleTargetRef": TARGET,
        "minReplicas": 1,
        "maxReplicas": 4,
        "targetCPUUtilizationPercentage": 70,
    }
    assert json.loads(older["metadata"]["annotations"][METRICS]) == [
        {"type": "Pods", "pods": {"metricName": "requests", "targetAverageValue": "10"}}
    ]
    older["spec"]["maxReplicas"] = 5
    assert (await api.put(resources.AUTOSCALERS_V1.path(NAMESPACE, "a"), older)).status == 200
    newer = (await api.get(resources.AUTOSCALERS.path(NAMESPACE, "a"))).body
    assert newer["spec"] == born["spec"] | {"maxReplicas": 5}
    assert "annotations" not in newer["metadata"]


async def test_an_older_autoscaler_obeys_the_rules_of_the_newer(api: Api) -> None:
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 2, "targetCPUUtilizationPercentage": 0}
    path = resources.AUTOSCALERS_V1.path(NAMESPACE)
    assert faults(await api.post(path, made(resources.AUTOSCALERS_V1, spec))) == [
        "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"
    ]
    spec = {"scaleTargetRef": TARGET, "maxReplicas": 2}
    for text in ("[", "{}", "[1]", '[{"type":"Pods","pods":1}]', '[{"type":7}]', '[{"pods":{"targetAverageValue":"x"}}]'):
        answer = await api.post(path, made(resources.AUTOSCALERS_V1, spec, annotations={METRICS: text}))
        assert [fault.partition(": ")[0] for fault in faults(answer)] == [f"metadata.annotations[{METRICS}]"]
    await create(api, resources.AUTOSCALERS_V1, spec)
    broken = (await patch(api, resources.AUTOSCALERS_V1, {"metadata": {"annotations": {METRICS: "["}}}, "status")).body
    assert broken["metadata"]["annotations"] == {METRICS: "["}


async def test_pod_templates_and_limit_ranges_have_no_status(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a"}, "template": template()}
    answer = await api.post(resources.PODTEMPLATES.path(NAMESPACE), body)
    assert (answer.status, answer.warnings) == (201, [])
    assert "status" not in answer.body
    limits = {"limits": [{"type": "Container", "max": {"cpu": "2000m"}}]}
    born = await create(api, resources.LIMITRANGES, limits)
    assert born["spec"]["limits"] == [
        {"type": "Container", "max": {"cpu": "2"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "2"}}
    ]
