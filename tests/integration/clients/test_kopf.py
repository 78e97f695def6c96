"""``kopf``: an operator on built-in kinds, embedded as its documentation shows, against a running system."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kopf
import pytest
from kubernetes import client, config

from tests.system import System

FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"


@pytest.fixture
def core(kubeconfig: str) -> client.CoreV1Api:
    config.load_kube_config(kubeconfig)
    return client.CoreV1Api()


@contextmanager
def operator(registry: kopf.OperatorRegistry, namespace: str, login: Callable[..., Any] = kopf.login_with_kubeconfig) -> Iterator[None]:
    """A thread with its own loop, until the block is left; what it could not do fails the test."""
    ready, stop = threading.Event(), threading.Event()
    kopf.on.login(registry=registry)(login)
    failures: list[BaseException] = []

    def run() -> None:
        settings = kopf.OperatorSettings()
        settings.posting.loggers = True
        settings.process.ultimate_exiting_timeout = None
        work = kopf.operator(
            registry=registry, settings=settings, namespaces=[namespace], standalone=True, ready_flag=ready, stop_flag=stop
        )
        try:
            asyncio.run(work)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        yield
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert not failures


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"operated": "yes"}}, "data": data}


def test_create_update_delete_with_finalizers_and_events(core: client.CoreV1Api, namespace: str, system: System) -> None:
    registry = kopf.OperatorRegistry()
    calls: list[tuple[Any, ...]] = []

    @kopf.on.create("", "v1", "configmaps", registry=registry, labels={"operated": "yes"})
    def create_fn(name: str, body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
        calls.append(("create", name))
        patch.metadata.annotations["example.com/seen"] = "yes"
        kopf.info(body, reason="Seen", message="it has been seen")

    @kopf.on.update("", "v1", "configmaps", registry=registry, labels={"operated": "yes"}, field="data")
    def update_fn(name: str, diff: kopf.Diff, **_: Any) -> None:
        calls.append(("update", name, *map(tuple, diff)))

    @kopf.on.delete("", "v1", "configmaps", registry=registry, labels={"operated": "yes"})
    def delete_fn(name: str, **_: Any) -> None:
        calls.append(("delete", name))

    def annotations() -> dict[str, str]:
        return core.read_namespaced_config_map("c", namespace).metadata.annotations or {}

    with operator(registry, namespace):
        core.create_namespaced_config_map(namespace, config_map("c", a="1"))
        system.until(lambda: "example.com/seen" in annotations(), "the handler's patch has landed", 20)
        system.until(lambda: "kopf.zalando.org/last-handled-configuration" in annotations(), "the operator keeps its state", 20)
        made = core.read_namespaced_config_map("c", namespace)
        assert made.metadata.finalizers == [FINALIZER]
        core.patch_namespaced_config_map("c", namespace, {"data": {"a": "2"}})
        system.until(lambda: ("update", "c", ("change", ("a",), "1", "2")) in calls, "the update is handled", 20)
        core.delete_namespaced_config_map("c", namespace)
        system.until(lambda: _gone(core, "c", namespace), "the finalizer is removed", 20)
        selector = f"involvedObject.uid={made.metadata.uid},reason=Seen"
        system.until(lambda: core.list_namespaced_event(namespace, field_selector=selector).items, "the event is posted", 20)
    assert [call[0] for call in calls] == ["create", "update", "delete"]


def _gone(core: client.CoreV1Api, name: str, namespace: str) -> bool:
    found = core.list_namespaced_config_map(namespace, field_selector=f"metadata.name={name}").items
    return not found


def test_resume_timer_and_children(core: client.CoreV1Api, namespace: str, system: System) -> None:
    registry = kopf.OperatorRegistry()
    resumed: list[str] = []
    ticks: list[str] = []

    @kopf.on.resume("", "v1", "secrets", registry=registry)
    def resume_fn(name: str, **_: Any) -> None:
        resumed.append(name)

    @kopf.on.create("", "v1", "secrets", registry=registry)
    def child_fn(name: str, **_: Any) -> None:
        child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-child"}}
        kopf.adopt(child)
        core.create_namespaced_config_map(namespace, child)

    @kopf.timer("", "v1", "secrets", interval=0.1, registry=registry)
    def timer_fn(name: str, **_: Any) -> None:
        ticks.append(name)

    with operator(registry, namespace):
        core.create_namespaced_secret(namespace, {"metadata": {"name": "before"}})
        system.until(lambda: not _gone(core, "before-child", namespace), "it is handled", 20)
        system.until(lambda: "before" in ticks, "its timer runs", 20)
        assert resumed == []
    with operator(registry, namespace):
        system.until(lambda: resumed == ["before"], "the next operator goes on with it", 20)
        core.create_namespaced_secret(namespace, {"metadata": {"name": "after"}})
        system.until(lambda: not _gone(core, "after-child", namespace), "the child is made", 20)
        child = core.read_namespaced_config_map("after-child", namespace)
        assert child.metadata.owner_references[0].name == "after"
        system.until(lambda: ticks.count("after") > 2, "the timer runs", 20)
        core.delete_namespaced_secret("after", namespace)
        system.until(lambda: _gone(core, "after-child", namespace), "the garbage collector took the child", 20)
        core.delete_namespaced_secret("before", namespace)
        system.until(lambda: not core.list_namespaced_secret(namespace).items, "both are gone", 20)
    assert resumed == ["before"]


def test_pods_in_sight(core: client.CoreV1Api, namespace: str, system: System) -> None:
    """kopf's own example for built-in kinds: it watches pods, also while the node writes their status."""
    registry = kopf.OperatorRegistry()
    phases: list[str] = []

    @kopf.on.event("", "v1", "pods", registry=registry)
    def event_fn(status: kopf.Status, **_: Any) -> None:
        phases.append(status.get("phase", ""))

    @kopf.on.field("", "v1", "pods", field="status.phase", registry=registry)
    def phase_fn(new: str, patch: kopf.Patch, **_: Any) -> None:
        patch.metadata.labels["phase"] = new

    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    with operator(registry, namespace):
        core.create_namespaced_pod(namespace, {"metadata": {"name": "p"}, "spec": spec})
        running = lambda: core.list_namespaced_pod(namespace, label_selector="phase=Running").items  # noqa: E731
        system.until(running, "the label follows the phase", 60)
        core.delete_namespaced_pod("p", namespace)
        system.until(lambda: not core.list_namespaced_pod(namespace).items, "the pod is gone", 30)
    assert [phase for position, phase in enumerate(phases) if phase not in phases[:position]] == ["Pending", "Running"]


def test_a_failing_handler_is_tried_again_and_the_object_says_so(core: client.CoreV1Api, namespace: str, system: System) -> None:
    registry = kopf.OperatorRegistry()
    tries: list[int] = []

    @kopf.on.create("", "v1", "configmaps", registry=registry, labels={"operated": "yes"})
    def create_fn(retry: int, **_: Any) -> None:
        tries.append(retry)
        if retry < 2:
            raise kopf.TemporaryError("not yet", delay=0.1)

    done: Callable[[], bool] = lambda: len(tries) == 3  # noqa: E731
    with operator(registry, namespace):
        core.create_namespaced_config_map(namespace, config_map("c"))
        system.until(done, "the handler succeeded", 20)
        reasons = lambda: {event.reason for event in core.list_namespaced_event(namespace).items}  # noqa: E731
        system.until(lambda: "Logging" in reasons(), "the failures became events", 20)
    assert tries == [0, 1, 2]


def test_a_daemon_and_an_index(core: client.CoreV1Api, namespace: str, system: System) -> None:
    registry = kopf.OperatorRegistry()
    alive: set[str] = set()
    shown: list[dict[str, list[str]]] = []

    @kopf.index("", "v1", "secrets", registry=registry, id="by_team")
    def by_team(labels: kopf.Labels, name: str, **_: Any) -> Any:
        return {labels.get("team", ""): name}

    @kopf.daemon("", "v1", "configmaps", registry=registry, labels={"operated": "yes"})
    async def background(name: str, stopped: kopf.DaemonStopped, by_team: kopf.Index[str, str], **_: Any) -> None:
        alive.add(name)
        shown.append({team: sorted(names) for team, names in by_team.items()})
        await stopped.wait()
        alive.discard(name)

    for name, team in (("x", "red"), ("y", "red"), ("z", "blue")):
        core.create_namespaced_secret(namespace, {"metadata": {"name": name, "labels": {"team": team}}})
    with operator(registry, namespace):
        core.create_namespaced_config_map(namespace, config_map("d"))
        system.until(lambda: alive == {"d"}, "the daemon runs", 20)
        assert shown == [{"red": ["x", "y"], "blue": ["z"]}]
        finalizers = lambda: core.read_namespaced_config_map("d", namespace).metadata.finalizers  # noqa: E731
        system.until(finalizers, "the object is held for the daemon", 20)
        core.delete_namespaced_config_map("d", namespace)
        system.until(lambda: _gone(core, "d", namespace), "the daemon let the object go", 20)
        system.until(lambda: not alive, "the daemon has ended", 20)


RULES = [
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]


def test_as_an_account_with_its_own_rights(core: client.CoreV1Api, namespace: str, system: System) -> None:
    """The roles that the documentation's deployment page asks for, those for custom resources left out."""
    system.kubectl("-n", namespace, "create", "serviceaccount", "operator")
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "operator", "namespace": namespace}}
    system.create(role | {"rules": RULES})
    system.kubectl("-n", namespace, "create", "rolebinding", "operator", "--role=operator", f"--serviceaccount={namespace}:operator")
    system.kubectl("create", "clusterrole", namespace, "--verb=list,watch", "--resource=namespaces")
    system.kubectl("create", "clusterrolebinding", namespace, f"--clusterrole={namespace}", f"--serviceaccount={namespace}:operator")
    token = system.kubectl("-n", namespace, "create", "token", "operator").strip()
    settings = client.Configuration.get_default_copy()
    registry = kopf.OperatorRegistry()

    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=settings.host, ca_path=settings.ssl_ca_cert, scheme="Bearer", token=token)

    @kopf.on.create("", "v1", "configmaps", registry=registry, labels={"operated": "yes"})
    def create_fn(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
        patch.metadata.labels["seen"] = "yes"
        kopf.info(body, reason="Seen", message="it has been seen")

    with operator(registry, namespace, login):
        core.create_namespaced_config_map(namespace, config_map("c"))
        seen = lambda: core.list_namespaced_config_map(namespace, label_selector="seen=yes").items  # noqa: E731
        system.until(seen, "the patch has landed", 20)
        posted = lambda: core.list_namespaced_event(namespace, field_selector="reason=Seen").items  # noqa: E731
        system.until(posted, "the event is posted", 20)
    manager = {entry.manager for entry in core.read_namespaced_config_map("c", namespace).metadata.managed_fields}
    assert "kopf" in {name.split("/")[0] for name in manager}
