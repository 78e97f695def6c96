"""``kubernetes_asyncio``: the examples of its repository, against a running system."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kubernetes_asyncio import client, config, utils, watch
from kubernetes_asyncio.client.api_client import ApiClient
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.leaderelection import electionconfig, leaderelection
from kubernetes_asyncio.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes_asyncio.stream import WsApiClient


@pytest_asyncio.fixture
async def api(kubeconfig: str) -> AsyncIterator[ApiClient]:
    await config.load_kube_config(kubeconfig)
    async with ApiClient() as opened:
        yield opened


@pytest.fixture
def core(api: ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


async def test_pods_with_their_addresses(core: client.CoreV1Api, box: dict[str, Any]) -> None:
    listed = await core.list_pod_for_all_namespaces()
    found = {(pod.metadata.namespace, pod.metadata.name): pod.status.pod_ip for pod in listed.items}
    assert found["default", "box"] == box["status"]["podIP"]


async def test_a_service_patched_in_every_way(core: client.CoreV1Api, namespace: str) -> None:
    def port(number: int) -> dict[str, Any]:
        return {"name": f"port-{number}", "protocol": "TCP", "port": number, "targetPort": number}

    async def patch(body: Any, **more: Any) -> list[int]:
        return [port.port for port in (await core.patch_namespaced_service("s", namespace, body, **more)).spec.ports]

    # The example has a misspelt field in it: without strict validation it is dropped.
    metadata = {"name": "s", "labels": {"name": "s"}, "resourceversion": "v1"}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [port(80)], "selector": {"name": "s"}}}
    await core.create_namespaced_service(namespace, body)
    assert await patch([{"op": "replace", "path": "/spec/ports/0", "value": port(1000)}]) == [1000]
    assert await patch({"spec": {"ports": [port(2000)]}}) == [2000, 1000]
    assert await patch({"spec": {"ports": [port(3000)]}}, _content_type="application/merge-patch+json") == [3000]
    with pytest.raises(ApiException) as refused:
        await core.create_namespaced_service(namespace, body)
    assert refused.value.status == 409


async def test_a_deployment_from_yaml(api: ApiClient, namespace: str, manifests: Path) -> None:
    made = await utils.create_from_yaml(api, str(manifests), namespace=namespace)
    assert len(made) == 2
    found = await client.AppsV1Api(api).read_namespaced_deployment("nginx-deployment", namespace)
    assert found.spec.template.spec.containers[0].image == "nginx:1.9.1"


async def test_watches_of_two_kinds_at_once(core: client.CoreV1Api, namespace: str) -> None:
    async def first(source: Any, *where: str) -> list[str]:
        seen = []
        async with watch.Watch().stream(source, *where, _request_timeout=30) as stream:
            async for event in stream:
                seen.append(event["type"])
                if event["object"].metadata.name == "made":
                    return seen
        raise AssertionError("the watch ended before the object came")

    watching = [
        asyncio.create_task(first(core.list_namespaced_secret, namespace)),
        asyncio.create_task(first(core.list_namespaced_service_account, namespace)),
    ]
    await core.create_namespaced_secret(namespace, {"metadata": {"name": "made"}})
    await core.create_namespaced_service_account(namespace, {"metadata": {"name": "made"}})
    assert [seen[-1] for seen in await asyncio.gather(*watching)] == ["ADDED", "ADDED"]


async def test_a_watch_ends_in_time(core: client.CoreV1Api, namespace: str) -> None:
    async with watch.Watch().stream(core.list_namespaced_config_map, namespace, timeout_seconds=1) as stream:
        assert [event["type"] async for event in stream] == ["ADDED"]  # kube-root-ca.crt


async def test_the_dynamic_client(api: ApiClient, namespace: str) -> None:
    dynamic = await DynamicClient(api)
    maps = await dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c", "labels": {"foo": "bar"}}, "data": {"a": "1"}}
    made = await maps.create(body=body, namespace=namespace)
    body["data"] = {"b": "2"}
    patched = await maps.patch(name="c", namespace=namespace, body=body, content_type="application/merge-patch+json")
    assert patched.data.to_dict() == {"a": "1", "b": "2"}
    body["metadata"]["resourceVersion"] = made.metadata.resourceVersion  # type: ignore[index]
    refused = await maps.replace(body=body, namespace=namespace)  # raises nothing: this client hands the Status on
    assert (refused.code, refused.reason) == (409, "Conflict")
    listed = await maps.get(namespace=namespace, label_selector="foo=bar")
    assert [item.metadata.name for item in listed.items] == ["c"]
    seen = []
    async for event in maps.watch(namespace=namespace, timeout=20):
        seen.append(event["type"])
        if event["type"] == "ADDED" and event["object"].metadata.name == "c":
            await maps.delete(name="c", namespace=namespace)
        if event["type"] == "DELETED":
            break
    assert seen[-1] == "DELETED"
    assert (await maps.get(name="c", namespace=namespace)).code == 404
    nodes = await dynamic.resources.get(api_version="v1", kind="Node")
    answer = await nodes.get(header_params={"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"})
    assert answer.kind == "PartialObjectMetadataList"


async def test_one_of_two_leads_and_the_other_takes_over(api: ApiClient, namespace: str) -> None:
    order: list[str] = []
    leading = asyncio.Event()

    def candidate(name: str) -> asyncio.Task[None]:
        async def lead() -> None:
            order.append(f"{name} leads")
            leading.set()
            await asyncio.Event().wait()

        async def stop() -> None:
            order.append(f"{name} stopped")

        settings = electionconfig.Config(LeaseLock("example", namespace, name, api), 2, 1.5, 1, lead, stop)
        return asyncio.create_task(leaderelection.LeaderElection(settings).run())

    first = candidate("first")
    await asyncio.wait_for(leading.wait(), 20)
    leading.clear()
    second = candidate("second")
    first.cancel()
    await asyncio.wait_for(leading.wait(), 20)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert [word for word in order if word.endswith("leads")] == ["first leads", "second leads"]
    lease = await client.CoordinationV1Api(api).read_namespaced_lease("example", namespace)
    assert lease.spec.holder_identity == "second"


async def test_exec(kubeconfig: str, box: dict[str, Any]) -> None:
    await config.load_kube_config(kubeconfig)
    command = ["/bin/sh", "-c", "echo This message goes to stderr >&2; echo This message goes to stdout; exit 4"]
    async with WsApiClient() as sockets:
        asked = {"command": command, "container": "main", "stderr": True, "stdin": False, "stdout": True, "tty": False}
        core = client.CoreV1Api(sockets)
        said = await core.connect_get_namespaced_pod_exec("box", "default", **asked)
        assert sorted(said.splitlines()) == ["This message goes to stderr", "This message goes to stdout"]
        opened = await core.connect_get_namespaced_pod_exec("box", "default", _preload_content=False, **asked)
        async with opened as socket:
            messages = [message.data async for message in socket]
        assert sockets.parse_error_data(messages[-1][1:].decode()) == 4


async def test_logs_as_they_come(core: client.CoreV1Api, box: dict[str, Any]) -> None:
    answer = await core.read_namespaced_pod_log("box", "default", container="main", follow=True, _preload_content=False)
    async with answer:
        assert [await answer.content.readline() for _ in range(2)] == [b"first line\n", b"second line\n"]
