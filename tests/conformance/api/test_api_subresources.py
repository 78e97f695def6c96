"""API-76: status, scale, binding, log, exec, token, finalize, ephemeral containers and resize, each on its own terms."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.api.spaces import Obj, Space, causes, pod, refusal, stateful_set

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOT_THERE = {"name": "v", "mountPath": "/v"}
GOLDEN_UID = "00000000-0000-0000-0000-00000000000f"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"


def binding(name: str, target: str = "n1", **metadata: Any) -> Obj:
    return {
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, **metadata},
        "target": {"apiVersion": "v1", "kind": "Node", "name": target},
    }  # fmt: skip


def unscheduled(name: str = "p", **spec: Any) -> Obj:
    return pod(name, schedulerName="nobody", **spec)


async def test_api_76_status_and_the_rest_are_written_apart(space: Space) -> None:
    made = await space.made(space.at("pods"), unscheduled() | {"status": {"phase": "Failed"}})
    assert made["status"]["phase"] == "Pending"
    path = space.at("pods", "p", "status")
    change = {"metadata": {"labels": {"a": "1"}}, "spec": {"activeDeadlineSeconds": 5}, "status": {"message": "said"}}
    answer = await space.api.patch(path, change)
    assert (answer.status, answer.body["status"]["message"]) == (200, "said")
    assert "activeDeadlineSeconds" not in answer.body["spec"]
    assert answer.body["metadata"]["labels"] == {"a": "1"}
    assert answer.body["metadata"]["generation"] == made["metadata"]["generation"]
    assert (await space.api.get(path)).body == answer.body
    assert refusal(await space.api.post(path, {}))[0] == 405
    assert refusal(await space.api.get(space.at("configmaps", "a", "status")))[0] == 404


async def test_api_76_conditions_without_times_say_so(space: Space) -> None:
    await space.made(space.at("pods"), unscheduled())
    change = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    answer = await space.api.patch(space.at("pods", "p", "status"), change, STRATEGIC)
    ready = next(one for one in answer.body["status"]["conditions"] if one["type"] == "Ready")
    assert ready == {"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}


@pytest.mark.parametrize("plural", ["statefulsets", "deployments", "replicasets"])
async def test_api_76_scale_reads_and_writes_the_replicas(space: Space, plural: str) -> None:
    kind = {"statefulsets": "StatefulSet", "deployments": "Deployment", "replicasets": "ReplicaSet"}[plural]
    body = stateful_set("s", replicas=0) | {"kind": kind}
    if plural != "statefulsets":
        del body["spec"]["serviceName"]
    await space.made(space.apps(plural), body)
    path = space.apps(plural, "s", "scale")
    scale = (await space.api.get(path)).body
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {})
    assert scale["status"]["selector"] == "app=s"
    unread = {name: value for name, value in scale["metadata"].items() if name != "resourceVersion"}
    changed = await space.api.put(path, scale | {"metadata": unread, "spec": {"replicas": 2}})
    assert (changed.status, changed.body["spec"]) == (200, {"replicas": 2})
    assert refusal(await space.api.put(path, scale | {"spec": {"replicas": 3}}))[0] == 409
    tried = await space.api.patch(path + "?dryRun=All", {"spec": {"replicas": 9}})
    assert (tried.status, tried.body["spec"]) == (200, {"replicas": 9})
    assert (await space.got(space.apps(plural, "s")))["spec"]["replicas"] == 2
    assert causes(await space.api.patch(path, {"spec": {"replicas": -1}})) == [("FieldValueInvalid", "spec.replicas")]
    assert refusal(await space.api.put(path, scale | {"kind": kind, "apiVersion": "apps/v1"}))[0] == 400
    assert refusal(await space.api.delete(path))[0] == 405


async def test_api_76_who_scales_to_nothing_owns_nothing(space: Space) -> None:
    await space.made(space.apps("statefulsets"), stateful_set("s"))
    path = space.apps("statefulsets", "s", "scale")

    async def scaled(replicas: int) -> bool:
        assert (await space.api.patch(f"{path}?fieldManager=scaler", {"spec": {"replicas": replicas}})).status == 200
        managers = (await space.got(space.apps("statefulsets", "s")))["metadata"]["managedFields"]
        return any(entry.get("subresource") == "scale" for entry in managers)

    assert await scaled(1)
    assert not await scaled(0)


async def test_api_76_a_pod_is_bound_once(space: Space) -> None:
    made = await space.made(space.at("pods"), unscheduled())
    path = space.at("pods", "p", "binding")
    assert causes(await space.api.post(path, binding("p", target=""))) == [("FieldValueRequired", "target.name")]
    other = binding("p") | {"target": {"kind": "Pod", "name": "x"}}
    assert causes(await space.api.post(path, other)) == [("FieldValueNotSupported", "target.kind")]
    answer = await space.api.post(path, binding("p", uid=GOLDEN_UID))
    assert answer.status == 409
    assert f"UID in precondition: {GOLDEN_UID}, UID in object meta: {made['metadata']['uid']}" in answer.body["message"]
    answer = await space.api.post(path, binding("p", annotations={"why": "room"}))
    assert (answer.status, answer.body["status"]) == (201, "Success")
    bound = await space.got(space.at("pods", "p"))
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["metadata"]["annotations"] == {"why": "room"}
    assert {one["type"]: one["status"] for one in bound["status"]["conditions"]} == {"PodScheduled": "True"}
    text = 'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"'
    assert refusal(await space.api.post(path, binding("p", target="n2"))) == (409, "Conflict", text)
    assert refusal(await space.api.post(space.at("pods", "none", "binding"), binding("none")))[0] == 404


async def test_api_76_options_of_a_log_are_checked_before_anybody_is_asked(space: Space) -> None:
    two = [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]
    await space.made(space.at("pods"), unscheduled(containers=two))
    path = space.at("pods", "p", "log")
    text = "a container name must be specified for pod p, choose one of: [a b]"
    assert refusal(await space.api.get(path)) == (400, "BadRequest", text)
    assert refusal(await space.api.get(path + "?container=zz"))[2] == "container zz is not valid for pod p"
    answer = await space.api.get(path + "?container=a")
    assert (answer.status, answer.raw) == (204, b"")
    for query, field in {
        "tailLines=-1": "tailLines",
        "limitBytes=0": "limitBytes",
        "sinceSeconds=0": "sinceSeconds",
        "sinceSeconds=1&sinceTime=2001-01-01T00:00:00Z": "[]",
    }.items():
        assert [found for _, found in causes(await space.api.get(f"{path}?container=a&{query}"))] == [field]
    assert refusal(await space.api.get(path + "?container=a&tailLines=x"))[:2] == (400, "BadRequest")
    assert refusal(await space.api.get(path + "?container=a&sinceTime=yesterday"))[:2] == (400, "BadRequest")
    assert refusal(await space.api.get(space.at("pods", "none", "log")))[0] == 404


async def test_api_76_streams_need_a_pod_that_has_a_node_with_an_address(space: Space) -> None:
    await space.made(space.at("pods"), unscheduled())
    for stream in ("exec?command=ls&stdout=1", "attach?stdout=1", "portforward"):
        for ask in (space.api.get, lambda path: space.api.post(path, None)):
            assert refusal(await ask(space.at("pods", "p", stream))) == (400, "BadRequest", "pod p does not have a host assigned")
    await space.api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "nowhere"}})
    await space.made(space.at("pods"), pod("q", nodeName="nowhere"))
    answer = await space.api.get(space.at("pods", "q", "exec?command=ls&stdout=1"))
    assert (answer.status, answer.body["message"]) == (500, "no preferred addresses found; known addresses: []")
    assert "reason" not in answer.body


async def test_api_76_a_token_is_for_its_account_and_what_it_is_bound_to(space: Space) -> None:
    await space.made(space.at("serviceaccounts"), {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}})
    await space.made(space.at("pods"), unscheduled())
    path = space.at("serviceaccounts", "a", "token")

    def asked(**spec: Any) -> Obj:
        return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}

    made = await space.made(path, asked(expirationSeconds=600, audiences=["x.example"]))
    assert made["status"]["token"].count(".") == 2
    assert made["spec"] == {"audiences": ["x.example"], "expirationSeconds": 600, "boundObjectRef": None}
    for seconds in (599, 2**32 + 1):
        assert causes(await space.api.post(path, asked(expirationSeconds=seconds)))[0][1] == "spec.expirationSeconds"
    missing = {"kind": "Pod", "apiVersion": "v1", "name": "none"}
    assert refusal(await space.api.post(path, asked(boundObjectRef=missing)))[:2] == (404, "NotFound")
    text = 'cannot bind token for serviceaccount "a" to pod running with different serviceaccount name.'
    assert refusal(await space.api.post(path, asked(boundObjectRef=missing | {"name": "p"}))) == (400, "BadRequest", text)
    assert refusal(await space.api.get(path))[0] == 405


async def test_api_76_a_namespace_is_finalized_only_through_finalize(space: Space) -> None:
    named = f"{space.name}-f"
    made = await space.made("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": named}})
    path = f"/api/v1/namespaces/{named}"
    kept = await space.api.put(path, made | {"spec": {"finalizers": []}})
    assert kept.body["spec"] == {"finalizers": ["kubernetes"]}
    wanted = {"finalizers": ["kubernetes", "test.example/more"]}
    answer = await space.api.put(path + "/finalize", kept.body | {"spec": wanted, "status": {"phase": "Terminating"}})
    assert (answer.status, answer.body["spec"], answer.body["status"]) == (200, wanted, {"phase": "Active"})
    bad = answer.body | {"spec": {"finalizers": ["strange"]}}
    assert "spec.finalizers" in [field for _, field in causes(await space.api.put(path + "/finalize", bad))]
    assert refusal(await space.api.patch(path + "/finalize", {}))[0] == 405


async def test_api_76_ephemeral_containers_are_added_and_stay(space: Space) -> None:
    made = await space.made(space.at("pods"), unscheduled())
    path = space.at("pods", "p", "ephemeralcontainers")
    debugger = {"name": "d", "image": "tools", "targetContainerName": "c"}
    change = {"spec": {"ephemeralContainers": [debugger], "activeDeadlineSeconds": 5}, "metadata": {"labels": {"a": "1"}}}
    assert refusal(await space.api.patch(space.at("pods", "p"), change, STRATEGIC))[0] == 422
    answer = await space.api.patch(path, change, STRATEGIC)
    assert answer.status == 200, answer.raw
    assert answer.body["spec"]["ephemeralContainers"][0].items() >= debugger.items()
    assert "activeDeadlineSeconds" not in answer.body["spec"]
    assert "labels" not in answer.body["metadata"]
    assert answer.body["metadata"]["generation"] == made["metadata"]["generation"] + 1
    assert (await space.api.get(path)).body == answer.body
    text = 'existing ephemeral containers "d" may not be '
    for written in ([], [{**debugger, "image": "other"}]):
        refused = await space.api.patch(path, {"spec": {"ephemeralContainers": written}})
        assert causes(refused) == [("FieldValueForbidden", "spec.ephemeralContainers")]
        assert text + ("changed" if written else "removed") in refused.body["message"]


@pytest.mark.parametrize(
    ("container", "fault"),
    [
        ({"name": "c"}, ("FieldValueDuplicate", "spec.ephemeralContainers[0].name")),
        ({"targetContainerName": "zz"}, ("FieldValueNotFound", "spec.ephemeralContainers[0].targetContainerName")),
        ({"ports": [{"containerPort": 1}]}, ("FieldValueForbidden", "spec.ephemeralContainers[0].ports")),
        ({"resources": {"limits": {"cpu": "1"}}}, ("FieldValueForbidden", "spec.ephemeralContainers[0].resources")),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}, ("FieldValueForbidden", "spec.ephemeralContainers[0].lifecycle")),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            ("FieldValueNotFound", "spec.ephemeralContainers[0].volumeMounts[0].name"),
        ),
        ({"image": ""}, ("FieldValueRequired", "spec.ephemeralContainers[0].image")),
    ],
)
async def test_api_76_ephemeral_containers_promise_nothing(space: Space, container: Obj, fault: tuple[str, str]) -> None:
    await space.made(space.at("pods"), unscheduled())
    change = {"spec": {"ephemeralContainers": [{"name": "d", "image": "i", **container}]}}
    assert fault in causes(await space.api.patch(space.at("pods", "p", "ephemeralcontainers"), change, STRATEGIC))


def resized(**resources: Any) -> Obj:
    return {"spec": {"containers": [{"name": "c", "resources": resources}]}}


async def test_api_76_resize_changes_cpu_and_memory_within_the_class(space: Space) -> None:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    made = await space.made(space.at("pods"), unscheduled(containers=[container]))
    path = space.at("pods", "p", "resize")
    assert refusal(await space.api.patch(space.at("pods", "p"), resized(requests={"cpu": "200m"}), STRATEGIC))[0] == 422
    change = resized(requests={"cpu": "200m"})
    change["spec"]["activeDeadlineSeconds"] = 5
    answer = await space.api.patch(path, change, STRATEGIC)
    assert answer.status == 200, answer.raw
    assert answer.body["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "200m", "memory": "64Mi"}}
    assert "activeDeadlineSeconds" not in answer.body["spec"]
    assert answer.body["metadata"]["generation"] == made["metadata"]["generation"] + 1
    guaranteed = resized(limits={"cpu": "200m", "memory": "64Mi"})
    assert causes(await space.api.patch(path, guaranteed, STRATEGIC)) == [("FieldValueInvalid", "spec")]
    removed = [{"op": "remove", "path": "/spec/containers/0/resources/requests/cpu"}]
    refused = await space.api.patch(path, removed, "application/json-patch+json")
    assert "resource requests cannot be removed" in refused.body["message"]
    refused = await space.api.patch(path, resized(requests={"ephemeral-storage": "1Gi"}), STRATEGIC)
    assert "only cpu and memory resources are mutable" in refused.body["message"]


async def test_api_76_a_container_whose_node_cannot_resize_is_not_resized(space: Space) -> None:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}
    await space.made(space.at("pods"), unscheduled(containers=[container]))
    running = {"name": "c", "image": "i", "imageID": "", "ready": True, "restartCount": 0, "state": {"running": {}}}
    await space.api.patch(space.at("pods", "p", "status"), {"status": {"containerStatuses": [running]}})
    refused = await space.api.patch(space.at("pods", "p", "resize"), resized(requests={"cpu": "1"}), STRATEGIC)
    assert "Pod running on node without support for resize" in refused.body["message"]
