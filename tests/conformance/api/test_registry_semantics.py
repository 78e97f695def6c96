"""API semantics at the registry: listings, watches, deletion in steps, dry runs, addresses, roles, bootstrap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.client.api import JSON_PATCH
from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    EVENTS,
    NAMESPACES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    ROLEBINDINGS,
    ROLES,
    SELFSUBJECTACCESSREVIEWS,
    SERVICEACCOUNTS,
    SERVICES,
)
from holdfast.machinery.errors import ApiError
from holdfast.registry import cache, events
from holdfast.registry.bootstrap import SERVER, bootstrap
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.registry.request import Event, Listing, Request, Result, User
from holdfast.registry.subresources.token import TokenClaims
from holdfast.store.memory import MemoryStore


class Clock:
    """Real enough, and can be moved."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    opened = MemoryStore()
    await opened.start()
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def registry(store: MemoryStore, clock: Clock) -> AsyncIterator[Registry]:
    def issue(claims: TokenClaims) -> tuple[str, float]:
        return f"{claims.namespace}/{claims.name}/{claims.bound_name}", clock.now() + claims.seconds

    opened = Registry(store, builtin_table(), clock, issue_token=issue)
    await opened.start()
    await bootstrap(opened)
    yield opened
    await opened.close()


@pytest.fixture
def client(registry: Registry) -> LocalClient:
    return LocalClient(registry, SERVER, "test")


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> Obj:
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def pod(name: str, **spec: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def request(registry: Registry, verb: str, resource: Resource, name: str = "", body: Any = None, **options: str) -> Request:
    namespace = "default" if resource.namespaced else ""
    return Request(SERVER, verb, registry.kinds.of(resource), namespace, name, options=options, body=body)


async def refused(call: Any, code: int) -> ApiError:
    with pytest.raises(ApiError) as raised:
        await call
    assert raised.value.code == code, raised.value.message
    return raised.value


async def listed(registry: Registry, **options: str) -> Listing:
    found = await registry.execute(request(registry, "list", CONFIGMAPS, **options))
    assert isinstance(found, Listing)
    return found


def names(listing: Listing) -> list[str]:
    return [item.obj["metadata"]["name"] for item in listing.items]


async def take(registry: Registry, count: int, **options: str) -> list[Event]:
    seen: list[Event] = []
    async with asyncio.timeout(5):
        async for batch in registry.watch(request(registry, "watch", CONFIGMAPS, **options)):
            seen += batch
            if len(seen) >= count:
                break
    return seen


async def test_an_exact_list_shows_the_past(registry: Registry, client: LocalClient) -> None:
    await client.create(CONFIGMAPS, config("a", k="1"), "default")
    then = (await listed(registry)).revision
    await client.patch(CONFIGMAPS, "a", "default", {"data": {"k": "2"}})
    await client.create(CONFIGMAPS, config("b"), "default")
    past = await listed(registry, resourceVersion=str(then), resourceVersionMatch="Exact")
    assert (names(past), past.items[0].obj["data"], past.revision) == (["a"], {"k": "1"}, then)
    present = await listed(registry, resourceVersion=str(then), resourceVersionMatch="NotOlderThan")
    assert names(present) == ["a", "b"]


async def test_an_expired_token_brings_a_fresh_one_that_works(registry: Registry, store: MemoryStore, client: LocalClient) -> None:
    for name in "abcd":
        await client.create(CONFIGMAPS, config(name), "default")
    page = await listed(registry, limit="2")
    assert (names(page), page.remaining) == (["a", "b"], 2)
    await client.delete(CONFIGMAPS, "d", "default")
    await store.compact(store.revision)
    token = {"continue": page.continue_token}
    error = await refused(listed(registry, limit="2", **token), 410)
    fresh = error.status()["metadata"]["continue"]
    assert names(await listed(registry, limit="2", **{"continue": fresh})) == ["c"]


async def test_pages_with_a_selector_do_not_count_the_rest(registry: Registry, client: LocalClient) -> None:
    for name in "abcde":
        await client.create(CONFIGMAPS, config(name, {"x": "1" if name != "b" else "2"}), "default")
    page = await listed(registry, limit="2", labelSelector="x=1")
    assert (names(page), page.remaining) == (["a", "c"], None)
    rest = await listed(registry, labelSelector="x=1", **{"continue": page.continue_token})
    assert (names(rest), rest.continue_token) == (["d", "e"], "")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"resourceVersionMatch": "Exact"}, 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        (
            {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
            422,
            'resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
        ),
        ({"resourceVersion": "1", "resourceVersionMatch": "Newest"}, 422, 'supported values: "Exact", "NotOlderThan", ""'),
        ({"sendInitialEvents": "true"}, 422, "sendInitialEvents is forbidden for list"),
        ({"resourceVersion": "abc"}, 400, 'strconv.ParseUint: parsing "abc": invalid syntax'),
        ({"limit": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"continue": "aGVsbG8"}, 400, "continue key is not valid: invalid character 'h' looking for beginning of value"),
        (
            {"continue": "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTkzLCJzdGFydCI6Ii4uLy4uL3NlY3JldHMveCJ9"},
            400,
            "continue key is not valid: ../../secrets/x",
        ),
        ({"fieldSelector": "spec.x=a"}, 400, '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ],
)
async def test_list_options_are_refused_in_the_words_clients_know(
    registry: Registry, options: dict[str, str], code: int, text: str
) -> None:
    assert text in (await refused(listed(registry, **options), code)).message


async def test_initial_events_end_with_a_marked_bookmark(registry: Registry, client: LocalClient) -> None:
    await client.create(CONFIGMAPS, config("a"), "default")
    seen = await take(registry, 2, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true")
    assert [event.type for event in seen] == ["ADDED", "BOOKMARK"]
    assert seen[1].stored.obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_of_a_compacted_revision_is_expired(registry: Registry, store: MemoryStore, client: LocalClient) -> None:
    await client.create(CONFIGMAPS, config("a"), "default")
    await store.compact(store.revision)
    later = Registry(store, builtin_table())
    await later.start()
    try:
        error = await refused(take(later, 1, resourceVersion="1"), 410)
        assert error.message.startswith("too old resource version: 1 (")
    finally:
        await later.close()


async def test_a_restarted_server_resumes_a_watch_from_the_log(registry: Registry, store: MemoryStore, client: LocalClient) -> None:
    first = await client.create(CONFIGMAPS, config("a", k="0"), "default")
    for n in range(1, 4):
        await client.patch(CONFIGMAPS, "a", "default", {"data": {"k": str(n)}})
    later = Registry(store, builtin_table())
    await later.start()
    later.cache.oldest = store.revision  # as if the cache had begun only now
    try:
        seen = await take(later, 3, resourceVersion=first["metadata"]["resourceVersion"])
    finally:
        await later.close()
    assert [event.stored.obj["data"]["k"] for event in seen] == ["1", "2", "3"]


async def test_a_slow_watcher_is_cut_and_never_skips(registry: Registry, client: LocalClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "QUEUE", 4)
    watching = registry.watch(request(registry, "watch", CONFIGMAPS))
    await client.create(CONFIGMAPS, config("first"), "default")
    seen = [event.stored.obj["metadata"]["name"] for event in await anext(watching)]
    for n in range(8):
        await client.create(CONFIGMAPS, config(f"c{n}"), "default")
    seen += [event.stored.obj["metadata"]["name"] async for batch in watching for event in batch]
    assert seen == ["first", *(f"c{n}" for n in range(8))][: len(seen)]
    assert len(seen) < 9


async def test_a_deleted_object_is_shown_as_it_last_was(registry: Registry, client: LocalClient) -> None:
    made = await client.create(CONFIGMAPS, config("a", k="1"), "default")
    await client.delete(CONFIGMAPS, "a", "default")
    (gone,) = await take(registry, 1, resourceVersion=made["metadata"]["resourceVersion"])
    assert (gone.type, gone.stored.obj["data"]) == ("DELETED", {"k": "1"})
    assert gone.stored.revision > int(made["metadata"]["resourceVersion"])
    assert "deletionTimestamp" not in gone.stored.obj["metadata"]


async def test_a_patch_that_leaves_nonsense_is_the_patchs_fault(client: LocalClient) -> None:
    await client.create(CONFIGMAPS, config("a"), "default")
    error = await refused(client.patch(CONFIGMAPS, "a", "default", {"data": {"k": 7}}), 422)
    assert error.message.startswith(' "" is invalid: patch: Invalid value: ')
    await refused(
        client.patch(CONFIGMAPS, "a", "default", [{"op": "replace", "path": "/kind", "value": "Pod"}], content_type=JSON_PATCH), 422
    )
    await refused(client.patch(CONFIGMAPS, "a", "default", {}, content_type="application/apply-patch+cbor"), 415)


async def test_a_dry_run_changes_nothing(registry: Registry, store: MemoryStore, client: LocalClient) -> None:
    await client.create(CONFIGMAPS, config("a", k="1"), "default")
    before = store.revision
    made = await registry.execute(request(registry, "create", CONFIGMAPS, body=config("b"), dryRun="All"))
    assert isinstance(made, Result)
    assert made.stored is not None
    assert "resourceVersion" not in made.stored.obj["metadata"]
    await registry.execute(request(registry, "delete", CONFIGMAPS, "a", dryRun="All"))
    await registry.execute(request(registry, "delete", CONFIGMAPS, "a", {"dryRun": ["All"]}))
    await refused(registry.execute(request(registry, "create", CONFIGMAPS, body=config("a"), dryRun="All")), 409)
    await refused(registry.execute(request(registry, "create", CONFIGMAPS, body=config("c"), dryRun="yes")), 422)
    assert store.revision == before


async def test_propagation_leaves_the_collectors_finalizers(client: LocalClient) -> None:
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        await client.create(CONFIGMAPS, config("a"), "default")
        held = await client.delete(CONFIGMAPS, "a", "default", propagation=policy)
        assert held["metadata"]["finalizers"] == [finalizer]
        again = await client.delete(CONFIGMAPS, "a", "default")
        assert again["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]
        last = await client.patch(CONFIGMAPS, "a", "default", {"metadata": {"finalizers": []}})
        assert last["metadata"]["name"] == "a"
        await refused(client.get(CONFIGMAPS, "a", "default"), 404)


async def test_a_terminating_namespace_takes_nothing_and_goes_when_finalized(client: LocalClient) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "t"}})
    marked = await client.delete(NAMESPACES, "t")
    assert marked["status"]["phase"] == "Terminating"
    error = await refused(client.create(CONFIGMAPS, config("a"), "t"), 403)
    assert error.details is not None
    assert error.details["causes"][0]["reason"] == "NamespaceTerminating"
    await client.update(NAMESPACES, {**marked, "spec": {"finalizers": []}}, subresource="finalize")
    await refused(client.get(NAMESPACES, "t"), 404)


async def test_eviction_is_a_graceful_deletion_of_that_very_pod(client: LocalClient) -> None:
    made = await client.create(PODS, pod("p", nodeName="n"), "default")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    wrong = {**body, "deleteOptions": {"preconditions": {"uid": "other"}}}
    await refused(client.create(PODS, wrong, "default", subresource="eviction", name="p"), 409)
    right = {**body, "deleteOptions": {"preconditions": {"uid": made["metadata"]["uid"]}}}
    await client.create(PODS, right, "default", subresource="eviction", name="p")
    found = await client.get(PODS, "p", "default")
    assert found["metadata"]["deletionGracePeriodSeconds"] == 30
    assert found["status"]["conditions"][0]["type"] == "DisruptionTarget"


async def test_eviction_is_taken_in_both_versions_of_its_kind(client: LocalClient) -> None:
    await client.create(PODS, pod("p", nodeName="n"), "default")
    body = {"apiVersion": "policy/v1beta2", "kind": "Eviction", "metadata": {"name": "p"}}
    await refused(client.create(PODS, body, "default", subresource="eviction", name="p"), 400)
    await client.create(PODS, {**body, "apiVersion": "policy/v1beta1"}, "default", subresource="eviction", name="p")
    assert "deletionTimestamp" in (await client.get(PODS, "p", "default"))["metadata"]


async def test_a_token_is_bound_to_its_own_pod(client: LocalClient) -> None:
    await client.create(PODS, pod("p"), "default")
    await client.create(SERVICEACCOUNTS, {"metadata": {"name": "other"}}, "default")
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    body = {"spec": {"boundObjectRef": reference}}
    made = await client.create(SERVICEACCOUNTS, body, "default", subresource="token", name="default")
    assert made["status"]["token"] == "default/default/p"
    error = await refused(client.create(SERVICEACCOUNTS, body, "default", subresource="token", name="other"), 400)
    assert "different serviceaccount" in error.message
    short = {"spec": {"expirationSeconds": 10}}
    await refused(client.create(SERVICEACCOUNTS, short, "default", subresource="token", name="default"), 422)


async def test_addresses_are_unique_chosen_and_released(client: LocalClient) -> None:
    chosen = {"metadata": {"name": "a"}, "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 53}]}}
    await client.create(SERVICES, chosen, "default")
    error = await refused(client.create(SERVICES, {**chosen, "metadata": {"name": "b"}}, "default"), 422)
    assert "provided IP is already allocated" in error.message
    await client.delete(SERVICES, "a", "default")
    await client.create(SERVICES, {**chosen, "metadata": {"name": "b"}}, "default")
    exposed = await client.create(
        SERVICES, {"metadata": {"name": "n"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}, "default"
    )
    assert 30000 <= exposed["spec"]["ports"][0]["nodePort"] <= 32767
    hidden = await client.patch(SERVICES, "n", "default", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in hidden["spec"]["ports"][0]
    assert hidden["spec"]["clusterIP"] == exposed["spec"]["clusterIP"]


async def test_claims_get_the_default_class_and_protection(client: LocalClient) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = await client.create(PERSISTENTVOLUMECLAIMS, {"metadata": {"name": "c"}, "spec": spec}, "default")
    assert made["spec"]["storageClassName"] == "standard"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


async def test_a_pod_needs_its_service_account(client: LocalClient) -> None:
    wanted = pod("p")
    wanted["spec"]["serviceAccountName"] = "nobody"
    error = await refused(client.create(PODS, wanted, "default"), 403)
    assert error.message == (
        'pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
    )


async def test_a_role_holds_in_its_namespace_and_ends_with_its_binding(registry: Registry, client: LocalClient) -> None:
    user = LocalClient(registry, User("u", ("system:authenticated",)), "test")
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get"]}]
    await client.create(ROLES, {"metadata": {"name": "r"}, "rules": rules}, "default")
    subjects = [{"kind": "User", "name": "u"}]
    await client.create(
        ROLEBINDINGS, {"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": subjects}, "default"
    )
    await client.create(CONFIGMAPS, config("a"), "default")
    assert (await user.get(CONFIGMAPS, "a", "default"))["metadata"]["name"] == "a"
    await refused(user.get(CONFIGMAPS, "b", "default"), 403)
    await refused(user.get(CONFIGMAPS, "a", "kube-system"), 403)
    await client.delete(ROLEBINDINGS, "b", "default")
    await refused(user.get(CONFIGMAPS, "a", "default"), 403)


async def test_view_gathers_what_add_ons_bring_and_no_secrets(registry: Registry, client: LocalClient) -> None:
    subjects = [{"kind": "User", "name": "u"}]
    await client.create(
        CLUSTERROLEBINDINGS, {"metadata": {"name": "v"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": subjects}
    )
    user = LocalClient(registry, User("u", ("system:authenticated",)), "test")

    async def may(verb: str, group: str, resource: str) -> bool:
        asked = {"verb": verb, "group": group, "resource": resource, "namespace": "default"}
        answer = await user.create(SELFSUBJECTACCESSREVIEWS, {"spec": {"resourceAttributes": asked}})
        return bool(answer["status"]["allowed"])

    assert await may("list", "", "pods")
    assert not await may("get", "", "secrets")
    assert not await may("create", "", "pods")
    assert not await may("get", "x.io", "widgets")
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    rules = [{"apiGroups": ["x.io"], "resources": ["widgets"], "verbs": ["get"]}]
    await client.create(CLUSTERROLES, {"metadata": {"name": "widgets", "labels": labels}, "rules": rules})
    assert await may("get", "x.io", "widgets")


async def test_paths_need_permission_too(registry: Registry) -> None:
    await registry.authorize_path(User("u", ("system:authenticated",)), "get", "/version")
    error = await refused(registry.authorize_path(User("u", ("system:authenticated",)), "get", "/metrics"), 403)
    assert error.message == 'forbidden: User "u" cannot get path "/metrics"'


async def test_events_end_an_hour_after_they_were_seen(registry: Registry, client: LocalClient, clock: Clock) -> None:
    event = {"involvedObject": {"kind": "Pod", "name": "p"}, "reason": "R", "message": "m", "type": "Normal"}
    await client.create(EVENTS, {**event, "metadata": {"name": "old"}}, "default")
    clock.time += 3000
    await client.create(EVENTS, {**event, "metadata": {"name": "new"}}, "default")
    clock.time += 1000
    assert await events.sweep_once(registry) == 1
    assert [e["metadata"]["name"] for e in (await client.list(EVENTS, "default"))["items"]] == ["new"]


async def test_bootstrap_twice_changes_nothing_and_restores_what_is_missing(
    registry: Registry, store: MemoryStore, client: LocalClient
) -> None:
    before = store.revision
    await bootstrap(registry)
    assert store.revision == before
    role = await client.get(CLUSTERROLES, "system:discovery")
    await client.update(CLUSTERROLES, role | {"rules": []})
    await bootstrap(registry)
    assert (await client.get(CLUSTERROLES, "system:discovery"))["rules"] == role["rules"]
