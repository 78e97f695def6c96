"""``lightkube``: the usage section of its documentation, against a running system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, Client, codecs
from lightkube.models.apps_v1 import DeploymentStatus
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.core_v1 import ConfigMap, Node, Pod, Service
from lightkube.types import CascadeType, PatchType

DEPLOYMENT = "nginx-deployment"


@pytest.fixture
def client(kubeconfig: str, namespace: str) -> Iterator[Client]:
    with Client(namespace=namespace, field_manager="my-manager") as opened:
        yield opened


@pytest.fixture
def created(client: Client, manifests: Path) -> Client:
    with manifests.open() as file:
        for obj in codecs.load_all_yaml(file):
            client.create(obj)
    return client


def config(**data: str) -> ConfigMap:
    return ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="my-config"), data=data)


def test_read_a_pod_and_list_nodes(client: Client, box: dict[str, Any]) -> None:
    assert client.get(Pod, name="box", namespace="default").metadata.uid == box["metadata"]["uid"]
    assert [node.metadata.name for node in client.list(Node)] == [box["spec"]["nodeName"]]
    assert "box" in [pod.metadata.name for pod in client.list(Pod, namespace="*", labels={"app": ["box", "else"]})]
    assert list(client.list(Pod, namespace="default", fields={"spec.nodeName": "nowhere"})) == []


def test_a_config_map_from_create_to_delete(client: Client) -> None:
    made = client.create(config(key1="value1", key2="value2"))
    made.data["key1"] = "new value"
    client.replace(made)
    assert client.patch(ConfigMap, "my-config", {"data": {"key3": "value3"}}).data["key3"] == "value3"
    left = client.patch(ConfigMap, "my-config", {"data": {"key3": None}}, patch_type=PatchType.MERGE)
    assert left.data == {"key1": "new value", "key2": "value2"}
    client.patch(ConfigMap, "my-config", [{"op": "remove", "path": "/data/key2"}], patch_type=PatchType.JSON)
    assert client.set(ConfigMap, "my-config", labels={"env": "prod"}).metadata.labels == {"env": "prod"}
    assert not client.set(ConfigMap, "my-config", labels={"env": None}).metadata.labels
    with pytest.raises(ApiError) as refused:
        client.replace(made)
    assert (refused.value.status.code, refused.value.status.reason) == (409, "Conflict")
    client.delete(ConfigMap, "my-config")
    with pytest.raises(ApiError, match='configmaps "my-config" not found'):
        client.get(ConfigMap, "my-config")


def test_lists_in_pages(client: Client) -> None:
    for number in range(5):
        client.create(ConfigMap(metadata=ObjectMeta(generateName="page-")), dry_run=False)
        assert number == len([c for c in client.list(ConfigMap, chunk_size=2) if c.metadata.name.startswith("page-")]) - 1
    client.deletecollection(ConfigMap)
    assert client.create(config(), dry_run=True).metadata.uid
    with pytest.raises(ApiError):
        client.get(ConfigMap, "my-config")


def test_a_deployment_scaled_and_its_status_applied(created: Client) -> None:
    scaled = created.replace(Deployment.Scale(metadata=ObjectMeta(name=DEPLOYMENT), spec=ScaleSpec(replicas=1)))
    assert scaled.spec.replicas == 1
    assert created.get(Deployment, DEPLOYMENT).spec.replicas == 1
    current = created.get(Deployment.Status, DEPLOYMENT)
    current.status = DeploymentStatus(observedGeneration=99)
    current.metadata.managedFields = current.metadata.resourceVersion = None  # its controller reports at the same time
    assert created.apply(current, force=True).status.observedGeneration == 99
    assert created.get(Deployment, DEPLOYMENT).metadata.generation == 2
    created.delete(Deployment, DEPLOYMENT, cascade=CascadeType.BACKGROUND)
    assert created.get(Service, "nginx").spec.ports[0].targetPort == 80


def test_server_side_apply(client: Client) -> None:
    wanted = config(key1="value1", key2="value2")
    assert client.apply(wanted).data == {"key1": "value1", "key2": "value2"}
    del wanted.data["key1"]
    wanted.data["key3"] = "value3"
    assert client.apply(wanted).data == {"key2": "value2", "key3": "value3"}
    wanted.data["key2"] = "other"
    with pytest.raises(ApiError) as refused:
        client.apply(wanted, field_manager="rival")
    assert refused.value.status.message == 'Apply failed with 1 conflict: conflict with "my-manager": .data.key2'
    assert client.apply(wanted, field_manager="rival", force=True).data == {"key2": "other", "key3": "value3"}


def test_a_watch_and_a_wait(created: Client) -> None:
    seen = []
    for operation, deployment in created.watch(Deployment, server_timeout=30):
        seen.append((operation, deployment.spec.replicas))
        if operation == "ADDED":
            created.patch(Deployment, DEPLOYMENT, {"spec": {"replicas": 2}})
        elif deployment.spec.replicas == 2:
            break
    assert (seen[0], seen[-1]) == (("ADDED", 3), ("MODIFIED", 2))
    condition = {"type": "Tested", "status": "True", "reason": "Test", "message": ""}
    created.patch(Deployment.Status, DEPLOYMENT, {"status": {"conditions": [condition]}})
    tested = created.wait(Deployment, DEPLOYMENT, for_conditions=["Tested"]).status.conditions
    assert [c.reason for c in tested if c.type == "Tested"] == ["Test"]


def test_a_set_that_runs(client: Client) -> None:
    container = {"name": "c", "image": "busybox", "command": ["sleep", "3600"]}
    template = {"metadata": {"labels": {"app": "s"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    spec = {"serviceName": "s", "replicas": 1, "selector": {"matchLabels": {"app": "s"}}, "template": template}
    client.create(codecs.from_dict({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": spec}))
    for _, current in client.watch(StatefulSet, server_timeout=60):
        if current.status and current.status.readyReplicas == 1:
            break
    assert client.wait(Pod, "s-0", for_conditions=["Ready"]).status.phase == "Running"
    client.delete(StatefulSet, "s", cascade=CascadeType.FOREGROUND)


def test_logs_and_exec(client: Client, box: dict[str, Any]) -> None:
    lines = client.log("box", namespace="default", container="main", follow=True)
    assert [next(lines), next(lines)] == ["first line\n", "second line\n"]
    done = client.exec("box", namespace="default", container="main", command=["ls", "/"], stdout=True, raise_on_error=True)
    assert "bin" in done.stdout.split()
    done = client.exec("box", namespace="default", container="main", command=["cat"], stdin="hello\n", stdout=True)
    assert (done.stdout, done.exit_code) == ("hello\n", 0)
    done = client.exec("box", namespace="default", container="main", command=["sh", "-c", "echo no >&2; exit 7"], stderr=True)
    assert (done.stderr, done.exit_code) == ("no\n", 7)


def test_execs_one_right_after_the_other(client: Client, box: dict[str, Any]) -> None:
    """It closes its socket on the last word while a thread of its own still reads: the end must not come in a piece of its own."""
    for number in range(15):
        done = client.exec("box", namespace="default", container="main", command=["echo", str(number)], stdout=True)
        assert done.stdout == f"{number}\n"


async def test_asynchronously(kubeconfig: str, namespace: str, box: dict[str, Any]) -> None:
    client = AsyncClient(namespace=namespace, field_manager="my-manager")
    assert (await client.apply(config(a="1"))).data == {"a": "1"}
    assert {item.metadata.name async for item in client.list(ConfigMap)} == {"kube-root-ca.crt", "my-config"}
    async for operation, found in client.watch(ConfigMap, fields={"metadata.name": "my-config"}, server_timeout=30):
        if operation == "DELETED":
            break
        assert found.data == {"a": "1"}
        await client.delete(ConfigMap, "my-config")
    done = await client.exec("box", namespace="default", container="main", command=["echo", "hello"], stdout=True)
    assert done.stdout == "hello\n"
    await client.close()
