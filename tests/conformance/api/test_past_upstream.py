"""What a StatefulSet has beyond upstream, over the API of a whole server: conditions, why, plan, rollback, unstick."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from holdfast.cli.kube import Kube
from holdfast.cli.kubeconfig import Access
from holdfast.cli.live import Live
from holdfast.cli.main import main
from holdfast.cli.why import explain
from holdfast.client.http import HttpClient
from holdfast.client.informer import Informer
from holdfast.controllers.statefulset import conditions, options
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import CONTROLLERREVISIONS, EVENTS, PODS, STATEFULSETS
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta
from tests.serving import STORES, Api, api_server


def make_set(replicas: int = 3, image: str = "db:1", annotations: Obj | None = None, **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "db", "image": image}]}}
    claims = [
        {
            "metadata": {"name": "www"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none-such", "resources": {"requests": {"storage": "1Gi"}}},
        }
    ]
    full = {
        "replicas": replicas,
        "serviceName": "web",
        "selector": {"matchLabels": {"app": "web"}},
        "template": template,
        "volumeClaimTemplates": claims,
        **spec,
    }
    metadata = {"name": "web", "namespace": "default", "annotations": annotations or {}}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": full}


class Cluster:
    """The API, and a kubelet of a kind: pods are made Ready, and go when they are deleted, unless ``broken`` says otherwise."""

    def __init__(self, api: Api, data: Path) -> None:
        self.api = api
        self.data = data
        self.history: list[str] = []
        self.broken: Callable[[Obj], bool] = lambda _pod: False

    async def get(self, resource: Resource, name: str = "") -> Any:
        return (await self.api.get(resource.path("default", name))).body

    async def write(self, obj: Obj) -> None:
        """As ``kubectl apply`` of old: what was applied is remembered in an annotation."""
        applied = json.dumps({**obj, "metadata": {**obj["metadata"]}})
        annotations = {**obj["metadata"]["annotations"], "kubectl.kubernetes.io/last-applied-configuration": applied}
        body = {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}
        path = STATEFULSETS.path("default")
        answer = await self.api.post(path, body)
        if answer.status == 409:
            answer = await self.api.patch(f"{path}/web", body)
        assert answer.status in (200, 201), answer.body

    async def kubelet(self) -> None:
        """Until cancelled, from what a watch tells."""
        client = HttpClient(self.api.server.address, tls=self.api.tls)
        seen = Informer(client, PODS)
        work: asyncio.Queue[tuple[Obj | None, Obj | None]] = asyncio.Queue()
        seen.on_change(lambda old, new: work.put_nowait((old, new)))
        async with contextlib.AsyncExitStack() as last, asyncio.TaskGroup() as tasks:
            last.push_async_callback(client.close)
            tasks.create_task(seen.run())
            while True:
                old, new = await work.get()
                if new is None:
                    continue
                if old is None:
                    self.history.append(f"create pod/{meta.name(new)}")
                await self._one(new)

    async def _one(self, pod: Obj) -> None:
        path = PODS.path("default", meta.name(pod))
        if meta.is_terminating(pod):
            self.history.append(f"delete pod/{meta.name(pod)}")
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid(pod)}}
            await self.api.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", **body})
            return
        ready = not self.broken(pod)
        if meta.condition(pod, "Ready") is not None and meta.condition_true(pod, "Ready") == ready:
            return
        if not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta.name(pod)}, "target": target}
            await self.api.post(f"{path}/binding", binding)
        stamp = rfc3339(1_700_000_000)
        state = {"running": {"startedAt": stamp}} if ready else {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        container = {"name": "db", "image": "x", "imageID": "", "ready": ready, "restartCount": 0, "state": state}
        status = {
            "phase": "Running" if ready else "Pending",
            "startTime": stamp,
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": stamp}],
            "containerStatuses": [container],
        }
        await self.api.call("PATCH", path + "/status", {"status": status}, {"Content-Type": "application/strategic-merge-patch+json"})

    async def until(self, resource: Resource, name: str, true: Callable[[Obj], bool]) -> Obj:
        """The object once it is so."""
        fields = f"?fieldSelector=metadata.name%3D{name}&watch=1"
        async with asyncio.timeout(20), self.api.open("GET", resource.path("default") + fields) as stream:
            async for line in stream.content:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED") and true(event["object"]):
                    found: Obj = event["object"]
                    return found
        raise AssertionError("the watch has ended")

    async def until_event(self, reason: str) -> Obj:
        async with asyncio.timeout(20), self.api.open("GET", f"{EVENTS.path('default')}?watch=1") as stream:
            async for line in stream.content:
                event: Obj = json.loads(line)["object"]
                if event.get("reason") == reason:
                    return event
        raise AssertionError("the watch has ended")

    async def settled(self, image: str, replicas: int = 3) -> Obj:
        def true(owner: Obj) -> bool:
            shown = owner["spec"]["template"]["spec"]["containers"][0]["image"] == image
            same = owner["status"].get("observedGeneration") == owner["metadata"]["generation"]
            done = (meta.condition(owner, "Progressing") or {}).get("reason") == conditions.DONE
            return shown and same and done and owner["spec"]["replicas"] == replicas == owner["status"].get("replicas")

        return await self.until(STATEFULSETS, "web", true)

    async def command(self, *arguments: str) -> Result:
        kubeconfig = ("--kubeconfig", str(self.data / "kubeconfig"))
        return await asyncio.to_thread(CliRunner().invoke, main, [*arguments, *kubeconfig])

    async def plan(self, obj: Obj) -> Result:
        file = self.data / "planned.yaml"
        file.write_text(yaml.safe_dump(obj))
        return await self.command("plan", "-f", str(file))


@pytest.fixture
async def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    async with api_server(tmp_path, getattr(request, "param", "memory")) as api:
        found = Cluster(api, tmp_path)
        assert (await api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})).status == 201
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(1_700_000_000)}
        assert (await api.patch("/api/v1/nodes/n1/status", {"status": {"conditions": [ready]}})).status == 200
        kubelet = asyncio.create_task(found.kubelet())
        yield found
        kubelet.cancel()


@pytest.mark.parametrize("cluster", STORES, indirect=True)
async def test_sts_f6_available_is_told_and_then_nothing_more(cluster: Cluster) -> None:
    await cluster.write(make_set())
    owner = await cluster.until(STATEFULSETS, "web", lambda o: meta.condition_true(o, "Available"))
    assert owner["status"]["availableReplicas"] >= 2
    owner = await cluster.settled("db:1")
    assert [c["type"] for c in owner["status"]["conditions"]] == ["Available", "Progressing", "Stalled"]
    assert meta.condition_true(owner, "Progressing")
    assert not meta.condition_true(owner, "Stalled")


async def test_plan_is_what_then_happens(cluster: Cluster) -> None:
    """Creation, a rolling update, scaling: each planned, done, and compared in its order."""
    for obj in (make_set(), make_set(image="db:2"), make_set(replicas=1, image="db:2")):
        said = await cluster.plan(obj)
        assert said.exit_code == 0, said.output
        before = len(cluster.history)
        await cluster.write(obj)
        await cluster.settled(obj["spec"]["template"]["spec"]["containers"][0]["image"], obj["spec"]["replicas"])
        lines = (line.strip().partition(". ")[2].split() for line in said.output.splitlines() if line.startswith("  "))
        planned = [f"{words[0]} {words[1].rstrip(':')}" for words in lines if words[0] in ("create", "delete") and "pod/" in words[1]]
        assert planned
        assert cluster.history[before:] == planned


async def test_plan_says_what_would_be_lost(cluster: Cluster) -> None:
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"}}
    await cluster.write(make_set(2, **policy))
    await cluster.settled("db:1", 2)
    said = await cluster.plan(make_set(1, **policy))
    assert "LOSE pvc/www-web-1" in said.output
    assert "Lost: claim www-web-1, which has no volume yet" in said.output
    assert "No claim is deleted" in (await cluster.plan(make_set(1))).output
    again = await cluster.plan(make_set(2, **policy))
    assert "stays as it is" in again.output
    assert "Nothing would be done" in again.output
    assert len(cluster.history) == 2, "nothing was written"


async def test_plan_refuses_what_the_server_would(cluster: Cluster) -> None:
    await cluster.write(make_set())
    said = await cluster.plan(make_set(serviceName="other"))
    assert said.exit_code == 1
    assert "updates to statefulset spec for fields other than" in said.output


async def test_why_a_set_waits(cluster: Cluster) -> None:
    cluster.broken = lambda pod: meta.name(pod) == "web-1"
    await cluster.write(make_set())
    await cluster.until(PODS, "web-1", lambda pod: bool((pod.get("status") or {}).get("containerStatuses")))
    said = await cluster.command("why", "sts/web")
    assert said.exit_code == 0, said.output
    assert "pod/web-1 (NotReady): web-1 is not Ready, since " in said.output
    assert "container db has no image x: ImagePullBackOff: no such image" in said.output
    assert "> Correct the image in the template" in said.output
    assert "ImagePullBackOff" in (await cluster.command("why", "pod/web-1")).output
    assert "pod/web-0 waits for nothing: it is Ready" in (await cluster.command("why", "po/web-0")).output
    assert "does not exist; sts/web waits:\n  pod/web-1 (NotReady)" in (await cluster.command("why", "pod/web-2")).output
    claim = (await cluster.command("why", "pvc/www-web-0")).output
    assert 'storage class "none-such", which does not exist' in claim
    assert "made together with pod web-2" in (await cluster.command("why", "pvc/www-web-2")).output
    assert "Step 1 supposes that pod/web-1 becomes Ready: holdfast why pod/web-1" in (await cluster.plan(make_set())).output
    cluster.broken = lambda _pod: False
    await cluster.api.call("DELETE", PODS.path("default", "web-1"))
    await cluster.settled("db:1")
    assert "sts/web waits for nothing. All 3 members are available" in (await cluster.command("why", "sts/web")).output


async def test_why_for_somebody_who_may_only_look_into_the_namespace(cluster: Cluster) -> None:
    cluster.broken = lambda pod: True
    await cluster.write(make_set())
    await cluster.until(PODS, "web-0", lambda pod: bool((pod.get("status") or {}).get("containerStatuses")))
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    binding = {"metadata": {"name": "ann"}, "roleRef": role, "subjects": [{**role, "kind": "User", "name": "ann"}]}
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    assert (await cluster.api.post(path, binding)).status == 201
    live = Live(Kube(Access(cluster.api.server.address, cluster.api.as_user("ann").tls)), "default")
    said = "\n".join(await asyncio.to_thread(explain, live, "sts", "web", 1.8e9))
    assert "container db has no image x: ImagePullBackOff" in said
    assert "claim www-web-0 waits for a volume of storage class none-such" in said
    assert "node n1" not in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["why", "sts/nope"], 'there is no StatefulSet "nope" in namespace "default"'),
        (["why", "pod/nope-1"], 'there is no Pod "nope-1"'),
        (["why", "pvc/nope"], 'there is no PersistentVolumeClaim "nope"'),
        (["why", "web-1"], "sts/NAME, pod/NAME or pvc/NAME is wanted"),
        (["why", "sts/web", "--context", "nope"], "has no context 'nope'"),
        (["plan", "-f", "no-such.yaml"], "no-such.yaml: No such file"),
    ],
)
async def test_what_is_not_there_is_said(cluster: Cluster, arguments: list[str], text: str) -> None:
    said = await cluster.command(*arguments)
    assert said.exit_code != 0
    assert text in said.output


async def test_a_reverted_update_repairs_itself(cluster: Cluster) -> None:
    """kubernetes#67250, opted in: the broken member of the bad revision is replaced after the revert; the others are not."""
    unstick = {options.UNSTICK: "true"}
    await cluster.write(make_set(annotations=unstick))
    await cluster.settled("db:1")
    cluster.broken = lambda pod: pod["spec"]["containers"][0]["image"] == "bad"
    await cluster.write(make_set(image="bad", annotations=unstick))
    await cluster.until(PODS, "web-2", lambda pod: bool((pod.get("status") or {}).get("containerStatuses")) and cluster.broken(pod))
    before = len(cluster.history)
    await cluster.write(make_set(annotations=unstick))
    await cluster.settled("db:1")
    assert cluster.history[before:] == ["delete pod/web-2", "create pod/web-2"]


async def test_a_deadline_rolls_back_once_and_says_so(cluster: Cluster) -> None:
    opted = {options.DEADLINE: "1s", options.ROLLBACK: "true"}
    await cluster.write(make_set(annotations=opted))
    good = (await cluster.settled("db:1"))["status"]["updateRevision"]
    cluster.broken = lambda pod: pod["spec"]["containers"][0]["image"] == "bad"
    await cluster.write(make_set(image="bad", annotations=opted))
    owner = await cluster.until(STATEFULSETS, "web", lambda o: options.ROLLED_BACK in meta.annotations_of(o))
    assert owner["spec"]["template"]["spec"]["containers"][0]["image"] == "db:1", "where kubectl sees it"
    owner = await cluster.settled("db:1")
    assert owner["status"]["updateRevision"] == good
    bad = meta.annotations_of(owner)[options.ROLLED_BACK]
    assert bad in [meta.name(r) for r in (await cluster.get(CONTROLLERREVISIONS))["items"]]
    event = await cluster.until_event("RolledBack")
    assert f"revision {bad} made no progress, rolled back to revision {good}" in event["message"]
    assert [e["reason"] for e in (await cluster.get(EVENTS))["items"]].count("RolledBack") == 1


async def test_an_annotation_that_is_not_understood_is_told_and_ignored(cluster: Cluster) -> None:
    await cluster.write(make_set(annotations={options.DEADLINE: "soon"}))
    event = await cluster.until_event("InvalidAnnotation")
    assert event["message"] == 'holdfast.dev/progress-deadline: "soon" is no duration like "10m" or "1h30m"; it is ignored'
    await cluster.settled("db:1")
