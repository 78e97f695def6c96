"""``kr8s``, blocking and asynchronous: the examples of its documentation, against a running system."""

from __future__ import annotations

import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from typing import Any

import httpx
import kr8s
import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import ConfigMap as AsyncConfigMap
from kr8s.asyncio.objects import Pod as AsyncPod
from kr8s.objects import ConfigMap, Deployment, Node, Pod, Secret, Service, StatefulSet, object_from_spec, objects_from_files

pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported")

SLEEPER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "my-pod"},
    "spec": {"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "3600"]}], "terminationGracePeriodSeconds": 0},
}


@pytest.fixture
def api(kubeconfig: str, namespace: str) -> Any:
    return kr8s.api(kubeconfig=kubeconfig, namespace=namespace)


def config(api: Any, name: str, **data: str) -> Any:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    made = ConfigMap(body, api=api)
    made.create()
    return made


# --- blocking


def test_versions_kinds_and_who_asks(api: Any) -> None:
    assert api.version()["minor"] == "36"
    assert {"v1", "apps/v1"} <= set(api.api_versions())
    kinds = {(kind["name"], kind["kind"], kind["namespaced"]) for kind in api.api_resources()}
    assert {("statefulsets", "StatefulSet", True), ("nodes", "Node", False)} <= kinds
    assert api.lookup_kind("sts") == ("statefulset.apps/v1", "statefulsets", True)
    assert api.whoami() == "kubernetes-admin"


def test_lists(api: Any, box: dict[str, Any]) -> None:
    assert [node.name for node in api.get("nodes")] == [box["spec"]["nodeName"]]
    found = {(pod.namespace, pod.name): pod for pod in api.get("pods", namespace=kr8s.ALL)}
    assert found["default", "box"].status.podIP == box["status"]["podIP"]
    assert [pod.name for pod in api.get("pods", namespace=kr8s.ALL, label_selector={"app": "box"}) if pod.ready()] == ["box"]
    assert next(iter(api.get("pods", "box", namespace="default"))).metadata.uid == box["metadata"]["uid"]
    assert list(api.get("pods", namespace="default", field_selector={"status.phase": "Failed"})) == []
    with pytest.raises(kr8s.NotFoundError):
        Pod.get("nope", api=api)


def test_a_secret_and_its_life(api: Any, namespace: str) -> None:
    data = {"password": b64encode(b"s33msi4").decode(), "username": b64encode(b"jane").decode()}
    secret = Secret({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mysecret"}, "type": "Opaque", "data": data}, api=api)
    secret.create()
    assert b64decode(Secret.get("mysecret", namespace=namespace, api=api).data.username) == b"jane"
    secret.patch({"stringData": {"username": "joe"}})
    assert b64decode(secret.data.username) == b"joe"
    secret.label({"foo": "bar"})
    secret.annotate({"note": "it is"})
    secret.remove_label("foo")
    secret.refresh()
    assert "foo" not in secret.labels
    assert secret.annotations["note"] == "it is"
    secret.patch([{"op": "remove", "path": "/data/password"}], type="json")
    with pytest.raises(kr8s.ServerError, match="already exists"):
        Secret({"metadata": {"name": "mysecret"}}, api=api).create()
    secret.delete()
    assert not secret.exists()


def test_a_deployment_scaled_and_what_it_owns(api: Any, manifests: Any) -> None:
    deployment, service = objects_from_files(manifests, api=api)
    for one in (deployment, service):
        one.create()
    deployment = Deployment.get("nginx-deployment", api=api)
    assert deployment.replicas == 3
    deployment.wait("condition=Available", timeout=60)
    deployment.scale(1)
    assert deployment.replicas == 1
    assert isinstance(service, Service)
    owned = config(api, "owned")
    deployment.adopt(owned)
    owned.refresh()
    assert owned.metadata.ownerReferences[0].uid == deployment.metadata.uid
    deployment.delete()
    owned.wait("delete", timeout=20)


def test_a_set_scaled(api: Any) -> None:
    template = {"metadata": {"labels": {"app": "s"}}, "spec": SLEEPER["spec"]}
    spec = {"serviceName": "s", "replicas": 1, "selector": {"matchLabels": {"app": "s"}}, "template": template}
    held = object_from_spec({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": spec}, api=api)
    assert isinstance(held, StatefulSet)
    held.create()
    held.wait("jsonpath='{.status.replicas}'=1", timeout=60)
    held.scale(2)
    held.wait("jsonpath='{.status.replicas}'=2", timeout=60)
    assert sorted(pod.name for pod in api.get("pods", label_selector="app=s")) == ["s-0", "s-1"]
    held.delete(propagation_policy="Foreground")
    held.wait("delete", timeout=60)


def test_a_pod_from_create_to_delete(api: Any) -> None:
    generated = Pod.gen(name="example-1", image="nginx:1.9.1", ports=[80], namespace=api.namespace)
    generated.api = api
    generated.create()
    assert generated.spec.containers[0].ports[0].containerPort == 80
    generated.delete()
    pod = Pod(SLEEPER, api=api)
    pod.create()
    pod.wait("condition=Ready", timeout=60)
    assert pod.ready()
    assert pod.exec(["echo", "hello"]).stdout == b"hello\n"
    pod.delete()
    pod.wait("delete", timeout=30)


def test_watches(api: Any) -> None:
    made = config(api, "c", a="1")
    seen = []
    for event, obj in api.watch("configmaps", field_selector="metadata.name=c"):
        seen.append((event, obj.data.a))
        if event == "ADDED":
            made.patch({"data": {"a": "2"}})
        elif event == "MODIFIED":
            made.delete()
        else:
            break
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_a_node_cordoned_and_tainted(api: Any) -> None:
    node = next(iter(api.get("nodes")))
    assert isinstance(node, Node)
    node.cordon()
    assert node.unschedulable
    node.taint("hold", "yes", effect="NoSchedule")
    node.refresh()
    assert "hold" in {taint.key for taint in node.taints}
    node.patch([{"op": "replace", "path": "/spec/taints", "value": []}], type="json")
    node.uncordon()
    assert not Node.get(node.name, api=api).unschedulable


def test_logs_exec_and_port_forward(api: Any, box: dict[str, Any]) -> None:
    pod = Pod.get("box", namespace="default", api=api)
    assert list(pod.logs(container="main")) == ["first line", "second line"]
    done = pod.exec(["sh", "-c", "echo out; echo err >&2; exit 3"], container="main", check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)
    with pod.portforward(remote_port=80, local_port="auto") as port, pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/nothing-here", timeout=10)
    assert answer.value.code == 404


# --- asynchronous


async def test_asynchronously_what_is_there(kubeconfig: str, namespace: str, box: dict[str, Any]) -> None:
    api = await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace=namespace)
    assert [node.name async for node in api.get("nodes")] == [box["spec"]["nodeName"]]
    pods = [pod async for pod in api.get("pods", namespace=kr8s.ALL, label_selector={"app": "box"})]
    assert [(pod.name, await pod.ready()) for pod in pods] == [("box", True)]


async def test_asynchronously_a_life(kubeconfig: str, namespace: str) -> None:
    api = await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace=namespace)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {"x": "y"}}, "data": {"a": "1"}}
    made = await AsyncConfigMap(body, api=api)
    await made.create()
    seen = []
    async for event, obj in api.watch("configmaps", label_selector="x=y"):
        seen.append(event)
        if event == "ADDED":
            await obj.patch({"data": {"a": "2"}})
        elif event == "MODIFIED":
            await obj.delete()
        else:
            break
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def test_asynchronously_a_port_forward_and_a_request_of_its_own(kubeconfig: str, box: dict[str, Any]) -> None:
    api = await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace="default")
    pod = await AsyncPod.get("box", api=api)
    async with pod.portforward(remote_port=80) as port, httpx.AsyncClient() as client:
        assert (await client.get(f"http://localhost:{port}/nothing-here")).status_code == 404
    async with api.call_api("GET", base="/version", version="") as answer:
        assert answer.json()["minor"] == "36"


async def test_asynchronously_a_pod(kubeconfig: str, namespace: str) -> None:
    api = await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace=namespace)
    pod = await AsyncPod(SLEEPER, api=api)
    await pod.create()
    await pod.wait("condition=Ready", timeout=60)
    assert (await pod.exec(["hostname"])).stdout == b"my-pod\n"
    await pod.delete()
