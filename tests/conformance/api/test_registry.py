"""The registry from outside: verbs, pages, watches, selectors, patches, deletion, subresources, RBAC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.client.api import STRATEGIC_PATCH, WatchEvent
from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONFIGMAPS, EVENTS, EVENTS_V1, NAMESPACES, PODS, SELFSUBJECTACCESSREVIEWS, SERVICES, STATEFULSETS
from holdfast.machinery.errors import ApiError
from holdfast.registry.bootstrap import SERVER, bootstrap
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.registry.request import Listing, Request, User
from holdfast.store.memory import MemoryStore


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    store = MemoryStore()
    await store.start()
    opened = Registry(store, builtin_table())
    await opened.start()
    await bootstrap(opened)
    yield opened
    await opened.close()
    await store.close()


@pytest.fixture
def client(registry: Registry) -> LocalClient:
    return LocalClient(registry, SERVER, "test")


def config(name: str, **data: str) -> Obj:
    return {"metadata": {"name": name}, "data": data}


def pod(name: str, **labels: str) -> Obj:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}


def stateful_set() -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "serviceName": "n", "template": template}}


async def refused(call: Any, code: int, reason: str = "") -> ApiError:
    with pytest.raises(ApiError) as raised:
        await call
    assert raised.value.code == code
    assert not reason or raised.value.reason == reason
    return raised.value


async def test_create_get_update_conflict(client: LocalClient) -> None:
    made = await client.create(CONFIGMAPS, config("a", k="1"), "default")
    assert made["metadata"]["uid"]
    assert await client.get(CONFIGMAPS, "a", "default") == made
    changed = await client.update(CONFIGMAPS, {**made, "data": {"k": "2"}})
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    error = await refused(client.update(CONFIGMAPS, {**made, "data": {"k": "3"}}), 409, "Conflict")
    assert "the object has been modified" in error.message
    await refused(client.create(CONFIGMAPS, config("a"), "default"), 409, "AlreadyExists")
    await refused(client.get(CONFIGMAPS, "b", "default"), 404, "NotFound")


async def test_pod_defaults_and_admission(client: LocalClient) -> None:
    made = await client.create(PODS, pod("p"), "default")
    spec = made["spec"]
    assert (spec["restartPolicy"], spec["dnsPolicy"], spec["enableServiceLinks"], spec["serviceAccountName"]) == (
        "Always",
        "ClusterFirst",
        True,
        "default",
    )
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    assert spec["containers"][0]["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert [t["tolerationSeconds"] for t in spec["tolerations"]] == [300, 300]
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


async def test_stateful_set_defaults_and_immutable_fields(client: LocalClient) -> None:
    made = await client.create(STATEFULSETS, stateful_set(), "default")
    spec = made["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"], spec["revisionHistoryLimit"]) == (1, "OrderedReady", 10)
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert "enableServiceLinks" not in spec["template"]["spec"]
    error = await refused(client.patch(STATEFULSETS, "web", "default", {"spec": {"serviceName": "x"}}), 422, "Invalid")
    assert error.message == (
        "StatefulSet.apps \"web\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas',"
        " 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy'"
        " and 'minReadySeconds' are forbidden"
    )
    scaled = await client.patch(STATEFULSETS, "web", "default", {"spec": {"replicas": 3}})
    assert scaled["metadata"]["generation"] == 2
    status = await client.patch(
        STATEFULSETS, "web", "default", {"status": {"replicas": 2}, "spec": {"replicas": 9}}, subresource="status"
    )
    assert (status["spec"]["replicas"], status["status"]["replicas"], status["metadata"]["generation"]) == (3, 2, 2)


async def test_selector_must_match_the_template(client: LocalClient) -> None:
    wrong = stateful_set()
    wrong["spec"]["selector"] = {"matchLabels": {"a": "c"}}
    error = await refused(client.create(STATEFULSETS, wrong, "default"), 422)
    assert "`selector` does not match template `labels`" in error.message


async def test_scale(registry: Registry, client: LocalClient) -> None:
    await client.create(STATEFULSETS, stateful_set(), "default")
    scale = await client.patch(STATEFULSETS, "web", "default", {"spec": {"replicas": 5}}, subresource="scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 5}, "a=b")
    assert (await client.get(STATEFULSETS, "web", "default"))["spec"]["replicas"] == 5


async def test_strict_decoding_names_the_path(registry: Registry) -> None:
    body = {**stateful_set(), "apiVersion": "apps/v1", "kind": "StatefulSet"}
    body["spec"]["foo"] = 1
    request = Request(SERVER, "create", registry.kinds.of(STATEFULSETS), "default", options={"fieldValidation": "Strict"}, body=body)
    error = await refused(registry.execute(request), 400)
    assert 'strict decoding error: unknown field "spec.foo"' in error.message
    mistyped = {**body, "spec": {**body["spec"], "replicas": "two"}}
    error = await refused(registry.execute(Request(SERVER, "create", request.kind, "default", body=mistyped)), 400)
    assert "spec.replicas" in error.message


async def test_strategic_patch_merges_containers_by_name(client: LocalClient) -> None:
    await client.create(STATEFULSETS, stateful_set(), "default")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}
    changed = await client.patch(STATEFULSETS, "web", "default", patch, content_type=STRATEGIC_PATCH)
    container = changed["spec"]["template"]["spec"]["containers"]
    assert [(c["name"], c["image"], c["terminationMessagePath"]) for c in container] == [("c", "i:2", "/dev/termination-log")]


async def collect(client: LocalClient, count: int, **options: str) -> list[WatchEvent]:
    seen: list[WatchEvent] = []
    async with asyncio.timeout(5):
        async for event in client.watch(CONFIGMAPS, "default", **options):  # type: ignore[arg-type]
            seen.append(event)
            if len(seen) == count:
                break
    return seen


async def test_watch_resumes_without_gap_or_repeat(client: LocalClient) -> None:
    first = await client.create(CONFIGMAPS, config("a", k="0"), "default")
    for n in range(1, 6):
        await client.patch(CONFIGMAPS, "a", "default", {"data": {"k": str(n)}})
    seen = await collect(client, 5, resource_version=first["metadata"]["resourceVersion"])
    assert [(e.type, e.object["data"]["k"]) for e in seen] == [("MODIFIED", str(n)) for n in range(1, 6)]


async def test_leaving_the_selector_is_a_deletion(client: LocalClient) -> None:
    made = await client.create(CONFIGMAPS, {**config("a"), "metadata": {"name": "a", "labels": {"x": "1"}}}, "default")
    watching = asyncio.create_task(collect(client, 3, labels="x=1"))
    await asyncio.sleep(0)
    await client.patch(CONFIGMAPS, "a", "default", {"metadata": {"labels": {"x": "2"}}})
    await client.patch(CONFIGMAPS, "a", "default", {"metadata": {"labels": {"x": "1"}}})
    assert [e.type for e in await watching] == ["ADDED", "DELETED", "ADDED"]
    assert made["metadata"]["labels"] == {"x": "1"}


async def test_pages_share_one_revision(registry: Registry, client: LocalClient) -> None:
    for n in range(5):
        await client.create(CONFIGMAPS, config(f"c{n}"), "default")
    kind = registry.kinds.of(CONFIGMAPS)
    names, token = [], ""
    while True:
        page = await registry.execute(Request(SERVER, "list", kind, "default", options={"limit": "2", "continue": token}))
        assert isinstance(page, Listing)
        names += [item.obj["metadata"]["name"] for item in page.items]
        if not token:
            await client.create(CONFIGMAPS, config("c9"), "default")
            first = page.revision
        assert page.revision == first
        token = page.continue_token
        if not token:
            break
    assert names == ["c0", "c1", "c2", "c3", "c4"]


async def test_a_bound_pod_is_deleted_in_two_steps(client: LocalClient) -> None:
    made = await client.create(PODS, pod("p"), "default")
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    await client.create(PODS, binding, "default", subresource="binding", name="p")
    await refused(client.create(PODS, binding, "default", subresource="binding", name="p"), 409)
    marked = await client.delete(PODS, "p", "default")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await client.get(PODS, "p", "default"))["spec"]["nodeName"] == "n"
    error = await refused(client.delete(PODS, "p", "default", uid="other", grace_period=0), 409)
    assert "The object might have been deleted and then recreated" in error.message
    await client.delete(PODS, "p", "default", uid=made["metadata"]["uid"], grace_period=0)
    await refused(client.get(PODS, "p", "default"), 404)


async def test_services_get_distinct_addresses(client: LocalClient) -> None:
    specs = [{"metadata": {"name": f"s{n}"}, "spec": {"ports": [{"port": 80}]}} for n in range(10)]
    made = await asyncio.gather(*(client.create(SERVICES, s, "default") for s in specs))
    assert len({s["spec"]["clusterIP"] for s in made}) == 10
    headless = {"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}
    assert (await client.create(SERVICES, headless, "default"))["spec"]["clusterIPs"] == ["None"]


async def test_events_have_two_forms(client: LocalClient) -> None:
    core = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "R", "message": "m", "type": "Normal"}
    await client.create(EVENTS, core, "default")
    other = await client.get(EVENTS_V1, "e", "default")
    assert (other["apiVersion"], other["regarding"]["name"], other["note"]) == ("events.k8s.io/v1", "p", "m")


async def test_rbac_denies_by_default_with_the_text(registry: Registry) -> None:
    nobody = LocalClient(registry, User("u", ("system:authenticated",)), "test")
    error = await refused(nobody.list(PODS, "default"), 403, "Forbidden")
    assert error.message == 'pods is forbidden: User "u" cannot list resource "pods" in API group "" in the namespace "default"'
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}}
    answer = await nobody.create(SELFSUBJECTACCESSREVIEWS, review)
    assert answer["status"]["allowed"] is False
    controller = User("system:serviceaccount:kube-system:statefulset-controller", ("system:serviceaccounts",))
    assert await LocalClient(registry, controller, "test").list(PODS, "default")


async def test_immortal_namespaces(client: LocalClient) -> None:
    error = await refused(client.delete(NAMESPACES, "default"), 403)
    assert "this namespace may not be deleted" in error.message
