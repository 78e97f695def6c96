"""Agents of nodes: what the Node authorizer and NodeRestriction let them read and write, over HTTP (SEC-22, SEC-23)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.security.objects import named, pod
from tests.serving import STORES, Api, api_server

NS = "/api/v1/namespaces/default"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture(params=STORES)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path, request.param) as served:
        yield served


def agent(api: Api, node: str) -> Api:
    return api.as_user(f"system:node:{node}", "system:nodes")


async def put_on(api: Api, node: str, name: str, **spec: Any) -> dict[str, Any]:
    made = await api.post(f"{NS}/pods", pod(name, node, **spec))
    assert made.status == 201, made.raw
    return made.body  # type: ignore[no-any-return]


async def test_sec_22_an_agent_reads_what_its_pods_name_and_nothing_else(api: Api) -> None:
    for name in ("mine", "theirs", "nobodys", "env"):
        await api.post(f"{NS}/secrets", named("Secret", name))
        await api.post(f"{NS}/configmaps", named("ConfigMap", name))
    env = [{"name": "e", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}]
    volumes = [{"name": "s", "secret": {"secretName": "mine"}}, {"name": "m", "configMap": {"name": "mine"}}]
    await put_on(api, "a", "one", volumes=volumes, containers=[{"name": "c", "image": "i:1", "env": env}])
    await put_on(api, "b", "two", volumes=[{"name": "s", "secret": {"secretName": "theirs"}}])
    a, b = agent(api, "a"), agent(api, "b")
    for name in ("mine", "env"):
        assert (await a.get(f"{NS}/secrets/{name}")).status == 200
        assert (await b.get(f"{NS}/secrets/{name}")).status == 403
    assert (await a.get(f"{NS}/configmaps/mine")).status == 200
    assert (await a.get(f"{NS}/secrets?fieldSelector=metadata.name%3Dmine&watch=1&timeoutSeconds=1")).status == 200
    for path in ("secrets/theirs", "secrets/nobodys", "configmaps/theirs", "secrets", "secrets?fieldSelector=metadata.name%21%3Dmine"):
        refused = await a.get(f"{NS}/{path}")
        assert refused.status == 403, path
    text = 'User "system:node:a" cannot get resource "secrets" in API group "" in the namespace "default"'
    why = "no relationship found between node 'a' and this object"
    assert (await a.get(f"{NS}/secrets/theirs")).body["message"] == f'secrets "theirs" is forbidden: {text}: {why}'
    assert (await a.get("/api/v1/secrets")).status == 403
    await api.delete(f"{NS}/pods/one", {"gracePeriodSeconds": 0})
    assert (await a.get(f"{NS}/secrets/mine")).status == 403


async def test_sec_22_a_selector_in_disguise_opens_nothing(api: Api) -> None:
    await api.post(f"{NS}/secrets", named("Secret", "mine"))
    await api.post(f"{NS}/secrets", named("Secret", "theirs"))
    await put_on(api, "a", "one", volumes=[{"name": "s", "secret": {"secretName": "mine"}}])
    for selector in ("type%3DOpaque%5C%2Cmetadata.name%3Dmine", "metadata.namespace%3Dx%5C%2Cmetadata.name%3Dmine"):
        seen = await agent(api, "a").get(f"{NS}/secrets?fieldSelector={selector}")
        assert {item["metadata"]["name"] for item in seen.body.get("items", [])} <= {"mine"}


async def test_sec_22_pods_are_seen_by_their_own_node(api: Api) -> None:
    await put_on(api, "a", "one")
    await put_on(api, "b", "two")
    a = agent(api, "a")
    assert (await a.get(f"{NS}/pods/one")).status == 200
    assert (await a.get(f"{NS}/pods/two")).status == 403
    assert (await a.get(f"{NS}/pods/none")).status == 404
    mine = await a.get("/api/v1/pods?fieldSelector=spec.nodeName%3Da")
    assert [item["metadata"]["name"] for item in mine.body["items"]] == ["one"]
    for query in ("", "?fieldSelector=spec.nodeName%3Db", "?fieldSelector=spec.nodeName%21%3Da"):
        assert (await a.get(f"/api/v1/pods{query}")).status == 403


async def test_sec_22_only_the_status_of_own_pods_and_no_labels_through_it(api: Api) -> None:
    await put_on(api, "a", "one")
    await put_on(api, "b", "two")
    a, body = agent(api, "a"), {"status": {"phase": "Running"}}
    assert (await a.patch(f"{NS}/pods/one/status", body, STRATEGIC)).status == 200
    refused = await a.patch(f"{NS}/pods/two/status", body, STRATEGIC)
    text = 'node "a" can only update pod status for pods with spec.nodeName set to itself'
    assert (refused.status, refused.body["message"]) == (403, f'pods "two" is forbidden: {text}')
    labelled = await a.patch(f"{NS}/pods/one/status", {"metadata": {"labels": {"app": "x"}}})
    assert labelled.status == 403
    assert 'node "a" cannot update labels through pod status' in labelled.body["message"]
    assert (await a.patch(f"{NS}/pods/one", {"metadata": {"labels": {"app": "x"}}})).status == 403
    gone = await a.delete(f"{NS}/pods/two")
    assert gone.status == 403
    assert "can only delete pods with spec.nodeName set to itself" in gone.body["message"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "two"}}
    assert (await a.post(f"{NS}/pods/two/eviction", eviction)).status == 403
    assert (await api.get(f"{NS}/pods/two")).status == 200
    assert (await a.delete(f"{NS}/pods")).status == 403
    assert (await a.delete(f"{NS}/pods/one", {"gracePeriodSeconds": 0})).status == 200


async def test_sec_22_a_node_is_its_own_and_labels_that_draw_pods_are_not(api: Api) -> None:
    a = agent(api, "a")
    assert (await a.post("/api/v1/nodes", named("Node", "b"))).status == 403
    drawn = named("Node", "a")
    drawn["metadata"]["labels"] = {"node-restriction.kubernetes.io/x": "1", "node-role.kubernetes.io/control-plane": ""}
    refused = await a.post("/api/v1/nodes", drawn)
    names = "node-restriction.kubernetes.io/x, node-role.kubernetes.io/control-plane"
    assert refused.body["message"] == f'nodes "a" is forbidden: node "a" is not allowed to set the following labels: {names}'
    drawn["metadata"]["labels"] = {"kubernetes.io/hostname": "a", "mine.example/x": "1", "foo.node.kubernetes.io/y": "2"}
    assert (await a.post("/api/v1/nodes", drawn)).status == 201
    assert (await api.post("/api/v1/nodes", named("Node", "b"))).status == 201
    assert (await a.get("/api/v1/nodes/a")).status == 200
    assert (await a.get("/api/v1/nodes/b")).status == 403
    assert (await a.get("/api/v1/nodes")).status == 403
    assert (await a.patch("/api/v1/nodes/b/status", {"status": {"phase": "x"}})).status == 403
    label = {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "1"}}}
    for path in ("a", "a/status"):
        refused = await a.patch(f"/api/v1/nodes/{path}", label)
        assert "is not allowed to modify labels: node-restriction.kubernetes.io/x" in refused.body["message"]
    taint = await a.patch("/api/v1/nodes/a", {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})
    assert taint.status == 403
    assert 'node "a" is not allowed to modify taints' in taint.body["message"]
    assert (await a.delete("/api/v1/nodes/a")).status == 403


async def test_sec_23_a_node_takes_no_owner(api: Api) -> None:
    a = agent(api, "a")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "00000000-0000-0000-0000-000000000001"}
    owned = named("Node", "a")
    owned["metadata"]["ownerReferences"] = [owner]
    refused = await a.post("/api/v1/nodes", owned)
    assert refused.status == 403
    assert "ownerReferences" in refused.body["message"]
    assert (await a.post("/api/v1/nodes", named("Node", "a"))).status == 201
    change = {"metadata": {"ownerReferences": [owner]}}
    assert (await a.patch("/api/v1/nodes/a", change)).status == 403
    await a.patch("/api/v1/nodes/a/status", change)
    assert "ownerReferences" not in (await api.get("/api/v1/nodes/a")).body["metadata"]


async def test_sec_22_pods_of_a_nodes_own_making_are_mirrors_that_name_nothing(api: Api) -> None:
    a = agent(api, "a")
    uid = (await a.post("/api/v1/nodes", named("Node", "a"))).body["metadata"]["uid"]

    def mirror(node: str = "a", **spec: Any) -> dict[str, Any]:
        found = pod("m", node, **spec)
        owner = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": uid, "controller": True}
        found["metadata"] |= {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [owner]}
        return found

    plain = mirror()
    plain["metadata"].pop("annotations")
    unowned = mirror()
    unowned["metadata"].pop("ownerReferences")
    wrong = {
        "can only create mirror pods": plain,
        "can only create pods with an owner reference set to itself": unowned,
        "can only create pods with spec.nodeName set to itself": mirror("b"),
        "a mirror pod may not reference service accounts": mirror(serviceAccountName="default"),
        "a mirror pod may not reference secrets": mirror(volumes=[{"name": "v", "secret": {"secretName": "s"}}]),
        "can not create pods that reference configmaps": mirror(volumes=[{"name": "v", "configMap": {"name": "s"}}]),
        "can not create pods that reference persistentvolumeclaims": mirror(
            volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "s"}}]
        ),
    }
    for text, body in wrong.items():
        refused = await a.post(f"{NS}/pods", body)
        assert (refused.status, text in refused.body["message"]) == (403, True), (text, refused.body)
    assert (await a.post(f"{NS}/pods", mirror())).status == 201


async def test_sec_22_tokens_only_for_pods_on_the_node(api: Api) -> None:
    here, there = await put_on(api, "a", "one"), await put_on(api, "b", "two")
    a = agent(api, "a")
    where = f"{NS}/serviceaccounts/default/token"

    def asking(of: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
        metadata = of["metadata"] if of else {}
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata.get("name"), "uid": metadata.get("uid"), **more} if of else None
        return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}

    assert (await a.post(where, asking(here))).status == 201
    wrong = {
        "node requested token not bound to a pod": asking(None),
        "node requested token with a pod binding without a uid": asking(here, uid=None),
        "node requested token bound to a pod scheduled on a different node": asking(there),
    }
    for text, body in wrong.items():
        refused = await a.post(where, body)
        assert (refused.status, text in refused.body["message"]) == (403, True), (text, refused.body)
    assert (await a.post(f"{NS}/serviceaccounts/other/token", asking(here))).status == 403
    assert (await a.get(f"{NS}/serviceaccounts/default")).status == 403


async def test_def_5_leases_volumes_and_identity(api: Api) -> None:
    a = agent(api, "a")
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    assert (await a.post(leases, named("Lease", "a", "coordination.k8s.io/v1", spec={}))).status == 201
    assert (await a.post(leases, named("Lease", "b", "coordination.k8s.io/v1", spec={}))).status == 403
    assert (await a.patch(f"{leases}/b", {"spec": {}})).status == 403
    assert (await a.get(leases)).status == 403
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}]}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "d.example", "volumeHandle": "h"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
    }
    refused = await a.post("/api/v1/persistentvolumes", named("PersistentVolume", "v", spec=spec))
    assert refused.status == 403
    assert "nodeAffinity to itself" in refused.body["message"]
    assert (await api.post("/api/v1/persistentvolumes", named("PersistentVolume", "v", spec=spec))).status == 201
    assert (await a.patch("/api/v1/persistentvolumes/v", {"metadata": {"annotations": {"x": "y"}}})).status == 403
    assert (await a.delete("/api/v1/persistentvolumes/v")).status == 403
    b = agent(api, "b")
    assert (await b.patch("/api/v1/persistentvolumes/v", {"metadata": {"annotations": {"x": "y"}}})).status == 200
    assert (await b.patch("/api/v1/persistentvolumes/v", {"metadata": {"labels": {"x": "y"}}})).status == 403
    nameless = api.as_user("system:node:", "system:nodes")
    assert (await nameless.get(f"{NS}/services")).status == 403
    assert (await api.as_user("system:node:a").get(f"{NS}/services")).status == 403


async def test_def_5_h10_how_a_claim_grows_is_said_by_the_node_that_has_its_volume(api: Api) -> None:
    claims, volumes = f"{NS}/persistentvolumeclaims", "/api/v1/persistentvolumes"
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}]}
    size: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    assert (await api.post(claims, named("PersistentVolumeClaim", "c", spec={**size, "volumeName": "v"}))).status == 201
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "csi": {"driver": "d.example", "volumeHandle": "h"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
    }
    assert (await api.post(volumes, named("PersistentVolume", "v", spec=spec))).status == 201
    a, b = agent(api, "a"), agent(api, "b")
    grown = {
        "status": {"capacity": {"storage": "2Gi"}, "conditions": [], "allocatedResourceStatuses": {"storage": "NodeResizePending"}}
    }
    larger = {"spec": {"capacity": {"storage": "2Gi"}}}
    failed = {"status": {"phase": "Failed", "message": "why"}}
    for path, body in ((f"{claims}/c/status", grown), (f"{volumes}/v", larger), (f"{volumes}/v/status", failed)):
        assert (await a.patch(path, body)).status == 403, path
        answer = await b.patch(path, body)
        assert answer.status == 200, (path, answer.body)
    lost = await b.patch(f"{claims}/c/status", {"status": {"phase": "Lost"}})
    assert lost.status == 403
    assert "is not allowed to update fields other than status.quantity and status.conditions" in lost.body["message"]
    assert "can only read resources" in (await b.patch(f"{claims}/c", {"metadata": {"labels": {"x": "y"}}})).body["message"]
    moved = {"spec": {"storageClassName": "other", "capacity": {"storage": "3Gi"}}}
    assert (await b.patch(f"{volumes}/v", moved)).status == 403


async def test_sec_24_a_node_is_compared_with_what_is_stored(api: Api) -> None:
    a = agent(api, "a")
    stored = (await a.post("/api/v1/nodes", named("Node", "a"))).body
    forged = {**stored, "metadata": {"name": "a", "labels": {"node-role.kubernetes.io/x": ""}}}
    for path in ("a", "a/status"):
        assert (await a.put(f"/api/v1/nodes/{path}", forged)).status == 403
    assert (await a.patch("/api/v1/nodes/a?fieldManager=m", forged, "application/apply-patch+yaml")).status in (400, 403, 409)
    assert "labels" not in (await api.get("/api/v1/nodes/a")).body["metadata"]


async def test_sec_22_reviews_answer_for_agents_too(api: Api) -> None:
    await put_on(api, "a", "one")
    a, group = agent(api, "a"), "/apis/authorization.k8s.io/v1"

    async def may(**attributes: Any) -> bool:
        body = named("SelfSubjectAccessReview", "", "authorization.k8s.io/v1", spec={"resourceAttributes": attributes})
        answer = await a.post(f"{group}/selfsubjectaccessreviews", body)
        return bool(answer.body["status"]["allowed"])

    own = {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["a"]}]}
    assert await may(verb="list", resource="pods", fieldSelector=own)
    assert not await may(verb="list", resource="pods")
    assert await may(verb="get", resource="pods", namespace="default", name="one")
    body = named("SelfSubjectRulesReview", "", "authorization.k8s.io/v1", spec={"namespace": "default"})
    status = (await a.post(f"{group}/selfsubjectrulesreviews", body)).body["status"]
    assert (status["incomplete"], "node authorizer" in status["evaluationError"]) == (True, True)
