"""The official client ``kubernetes``: the examples of its repository, against a running system."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, dynamic, informer, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

from tests.system import System

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "pi"},
    "spec": {
        "backoffLimit": 4,
        "template": {
            "metadata": {"labels": {"app": "pi"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "pi", "image": "perl", "command": ["perl", "-wle", "print 3"]}]},
        },
    },
}


@pytest.fixture(autouse=True)
def configured(kubeconfig: str) -> None:
    config.load_kube_config(kubeconfig)


@pytest.fixture
def core() -> client.CoreV1Api:
    return client.CoreV1Api()


@pytest.fixture
def resources() -> dynamic.DynamicClient:
    return dynamic.DynamicClient(client.ApiClient())


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


# --- objects


def test_pods_with_their_addresses(core: client.CoreV1Api, box: dict[str, Any]) -> None:
    found = {(p.metadata.namespace, p.metadata.name): p.status.pod_ip for p in core.list_pod_for_all_namespaces(watch=False).items}
    assert found["default", "box"] == box["status"]["podIP"]


def test_groups_and_versions() -> None:
    assert client.CoreApi().get_api_versions().versions == ["v1"]
    groups = {group.name: group.preferred_version.version for group in client.ApisApi().get_api_versions().groups}
    assert groups["apps"] == "v1"
    assert groups["autoscaling"] == "v2"
    assert client.VersionApi().get_code().minor == "36"
    assert {"deployments", "deployments/scale"} <= {r.name for r in client.AppsV1Api().get_api_resources().resources}


def test_a_deployment_created_updated_deleted(namespace: str) -> None:
    apps = client.AppsV1Api()
    container = client.V1Container(name="nginx", image="nginx:1.15.4", ports=[client.V1ContainerPort(container_port=80)])
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "nginx"}), spec=client.V1PodSpec(containers=[container])
    )
    deployment = client.V1Deployment(
        api_version="apps/v1",
        kind="Deployment",
        metadata=client.V1ObjectMeta(name="nginx-deployment"),
        spec=client.V1DeploymentSpec(replicas=3, template=template, selector={"matchLabels": {"app": "nginx"}}),
    )
    made = apps.create_namespaced_deployment(namespace, deployment)
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    assert made.metadata.creation_timestamp.tzinfo
    deployment.spec.template.spec.containers[0].image = "nginx:1.16.0"
    changed = apps.patch_namespaced_deployment("nginx-deployment", namespace, deployment)
    assert changed.spec.template.spec.containers[0].image == "nginx:1.16.0"
    assert changed.metadata.generation == made.metadata.generation + 1
    scale = apps.patch_namespaced_deployment_scale("nginx-deployment", namespace, {"spec": {"replicas": 5}})
    assert scale.spec.replicas == 5
    start = apps.list_namespaced_deployment(namespace).metadata.resource_version
    body = client.V1DeleteOptions(propagation_policy="Foreground", grace_period_seconds=5)
    apps.delete_namespaced_deployment("nginx-deployment", namespace, body=body)
    for event in watch.Watch().stream(apps.list_namespaced_deployment, namespace, resource_version=start, timeout_seconds=20):
        if event["type"] == "DELETED":
            break
    with pytest.raises(ApiException) as refused:
        apps.read_namespaced_deployment("nginx-deployment", namespace)
    assert (refused.value.status, refused.value.reason) == (404, "Not Found")


def test_jobs_and_cron_jobs(namespace: str) -> None:
    batch = client.BatchV1Api()
    job = batch.create_namespaced_job(namespace, JOB)
    assert job.spec.template.metadata.labels["batch.kubernetes.io/job-name"] == "pi"
    assert batch.patch_namespaced_job("pi", namespace, {"spec": {"parallelism": 2}}).spec.parallelism == 2
    elsewhere = {**JOB, "metadata": {"name": "theirs"}, "spec": {**JOB["spec"], "managedBy": "example.com/another"}}
    batch.create_namespaced_job(namespace, elsewhere)
    status = {"status": {"active": 1, "startTime": "2026-01-01T00:00:00Z"}}
    assert batch.patch_namespaced_job_status("theirs", namespace, status).status.active == 1
    spec = {"schedule": "*/1 * * * *", "jobTemplate": {"spec": JOB["spec"]}}
    batch.create_namespaced_cron_job(namespace, {"metadata": {"name": "cron"}, "spec": spec})
    assert batch.read_namespaced_cron_job("cron", namespace).spec.concurrency_policy == "Allow"
    batch.delete_namespaced_cron_job("cron", namespace)
    batch.delete_collection_namespaced_job(namespace, propagation_policy="Background")
    assert batch.list_namespaced_job(namespace).items == []


def test_an_ingress_for_a_service(namespace: str) -> None:
    backend = client.V1IngressBackend(service=client.V1IngressServiceBackend(name="s", port=client.V1ServiceBackendPort(number=5678)))
    path = client.V1HTTPIngressPath(path="/", path_type="Exact", backend=backend)
    rule = client.V1IngressRule(host="example.com", http=client.V1HTTPIngressRuleValue(paths=[path]))
    body = client.V1Ingress(metadata=client.V1ObjectMeta(name="i"), spec=client.V1IngressSpec(rules=[rule]))
    networking = client.NetworkingV1Api()
    made = networking.create_namespaced_ingress(namespace, body)
    assert made.spec.rules[0].http.paths[0].backend.service.port.number == 5678
    assert networking.list_ingress_for_all_namespaces().items[0].metadata.uid == made.metadata.uid


def test_a_volume_claim_and_the_classes(core: client.CoreV1Api, namespace: str) -> None:
    resources = client.V1VolumeResourceRequirements(requests={"storage": "1Gi"})
    spec = client.V1PersistentVolumeClaimSpec(access_modes=["ReadWriteOnce"], resources=resources)
    claim = core.create_namespaced_persistent_volume_claim(namespace, client.V1PersistentVolumeClaim(metadata={"name": "c"}, spec=spec))
    assert claim.status.phase == "Pending"
    classes = client.StorageV1Api().list_storage_class().items
    assert claim.spec.storage_class_name in {one.metadata.name for one in classes}
    core.delete_namespaced_persistent_volume_claim("c", namespace)


def test_every_kind_of_patch(core: client.CoreV1Api, namespace: str) -> None:
    ports = [{"name": "a", "port": 80}]
    core.create_namespaced_service(namespace, {"metadata": {"name": "s"}, "spec": {"selector": {"app": "s"}, "ports": ports}})

    def patch(body: Any, **more: Any) -> list[str]:
        return [port.name for port in core.patch_namespaced_service("s", namespace, body, **more).spec.ports]

    add = {"spec": {"ports": [{"name": "b", "port": 81}]}}
    assert patch(add) == ["b", "a"]  # strategic: by the key, what is new in front
    assert patch([{"op": "replace", "path": "/spec/ports/0/name", "value": "c"}]) == ["c", "a"]
    assert patch(add, _content_type="application/merge-patch+json") == ["b"]
    applied = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"name": "d", "port": 90}]}}
    assert patch(applied, _content_type="application/apply-patch+yaml", field_manager="me", force=True) == ["b", "d"]
    entries = core.read_namespaced_service("s", namespace).metadata.managed_fields
    assert ("me", "Apply") in {(entry.manager, entry.operation) for entry in entries}
    patch(applied, dry_run="All")
    with pytest.raises(ApiException) as refused:
        patch({"spec": {"prots": []}}, field_validation="Strict")
    assert refused.value.status == 422
    assert 'strict decoding error: unknown field \\"spec.prots\\"' in refused.value.body


def test_conflicts_and_preconditions(core: client.CoreV1Api, namespace: str) -> None:
    stale = core.create_namespaced_config_map(namespace, config_map("c", a="1"))
    fresh = core.read_namespaced_config_map("c", namespace)
    fresh.data["a"] = "2"
    core.replace_namespaced_config_map("c", namespace, fresh)
    stale.data["a"] = "3"
    with pytest.raises(ApiException) as refused:
        core.replace_namespaced_config_map("c", namespace, stale)
    assert refused.value.status == 409
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="nobody"))
    with pytest.raises(ApiException) as refused:
        core.delete_namespaced_config_map("c", namespace, body=wrong)
    assert refused.value.status == 409
    gone = core.delete_namespaced_config_map("c", namespace)
    assert (gone["kind"], gone["status"]) == ("Status", "Success")


def test_lists_in_pages_and_by_selector(core: client.CoreV1Api, namespace: str) -> None:
    for number in range(5):
        labels = {"parity": "odd" if number % 2 else "even"}
        core.create_namespaced_config_map(namespace, {"metadata": {"name": f"p{number}", "labels": labels}})
    names, token, left = [], None, []
    while True:
        page = core.list_namespaced_config_map(namespace, limit=2, _continue=token)
        names += [item.metadata.name for item in page.items]
        left.append(page.metadata.remaining_item_count)
        if not (token := page.metadata._continue):
            break
    assert names == ["kube-root-ca.crt", "p0", "p1", "p2", "p3", "p4"]
    assert left == [4, 2, None]
    odd = core.list_namespaced_config_map(namespace, label_selector="parity=odd", field_selector="metadata.name!=p1").items
    assert [item.metadata.name for item in odd] == ["p3"]


def test_nodes_and_their_labels(core: client.CoreV1Api) -> None:
    node = core.list_node().items[0]
    core.patch_node(node.metadata.name, {"metadata": {"labels": {"foo": "bar", "baz": None}}})
    assert [found.metadata.name for found in core.list_node(label_selector="foo=bar").items] == [node.metadata.name]
    assert {condition.type for condition in node.status.conditions} >= {"Ready"}
    core.patch_node(node.metadata.name, {"metadata": {"labels": {"foo": None}}})


def test_reviews_and_tokens(core: client.CoreV1Api, namespace: str) -> None:
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "robot"}})
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    token = core.create_namespaced_service_account_token("robot", namespace, request).status.token
    who = client.AuthenticationV1Api().create_token_review(client.V1TokenReview(spec=client.V1TokenReviewSpec(token=token)))
    assert who.status.user.username == f"system:serviceaccount:{namespace}:robot"
    asked = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(verb="delete", resource="nodes"))
    )
    assert client.AuthorizationV1Api().create_self_subject_access_review(asked).status.allowed is True
    settings = client.Configuration.get_default_copy()
    settings.api_key, settings.cert_file, settings.key_file = {"authorization": f"Bearer {token}"}, None, None
    robot = client.ApiClient(settings)
    assert client.AuthorizationV1Api(robot).create_self_subject_access_review(asked).status.allowed is False
    with pytest.raises(ApiException) as refused:
        client.CoreV1Api(robot).list_node()
    assert refused.value.status == 403


# --- watches


def test_a_watch_of_namespaces(core: client.CoreV1Api, namespace: str) -> None:
    watcher, seen = watch.Watch(), []
    for event in watcher.stream(core.list_namespace, _request_timeout=60):
        seen.append(event["type"])
        assert event["raw_object"]["kind"] == "Namespace"
        if event["object"].metadata.name == namespace:
            watcher.stop()
    assert set(seen) == {"ADDED"}


def test_a_watch_goes_on_where_it_ended(core: client.CoreV1Api, namespace: str) -> None:
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("c", a="1"))
    watcher = watch.Watch()

    def until(last: str, **more: Any) -> list[tuple[str, str]]:
        seen = []
        for event in watcher.stream(core.list_namespaced_config_map, namespace, timeout_seconds=20, **more):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == last:
                break
        return seen

    assert until("ADDED", resource_version=start) == [("ADDED", "c")]
    core.patch_namespaced_config_map("c", namespace, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("c", namespace)
    assert until("DELETED", resource_version=watcher.resource_version) == [("MODIFIED", "c"), ("DELETED", "c")]
    begun = time.monotonic()
    assert list(watch.Watch().stream(core.list_namespaced_secret, namespace, timeout_seconds=1)) == []
    assert time.monotonic() - begun < 5


def test_an_informer(core: client.CoreV1Api, namespace: str, system: System) -> None:
    core.create_namespaced_config_map(namespace, config_map("before"))
    seen: list[tuple[str, str]] = []
    shared = informer.SharedInformer(list_func=core.list_namespaced_config_map, namespace=namespace)

    def note(kind: str) -> Callable[[Any], None]:
        return lambda obj: seen.append((kind, obj.metadata.name))

    for kind in (informer.ADDED, informer.MODIFIED, informer.DELETED):
        shared.add_event_handler(kind, note(kind))
    shared.start()
    try:
        system.until(lambda: ("ADDED", "before") in seen, "the informer has listed", 20)
        core.create_namespaced_config_map(namespace, config_map("after"))
        core.patch_namespaced_config_map("after", namespace, {"data": {"a": "1"}})
        core.delete_namespaced_config_map("after", namespace)
        system.until(lambda: ("DELETED", "after") in seen, "the informer has watched", 20)
        assert [kind for kind, name in seen if name == "after"] == ["ADDED", "MODIFIED", "DELETED"]
        assert {obj.metadata.name for obj in shared.cache.list()} == {"before", "kube-root-ca.crt"}
        core.create_namespaced_config_map(namespace, config_map("last"))  # wakes the watch, so that the stop is seen at once
    finally:
        threading.Timer(0.1, core.delete_namespaced_config_map, ("last", namespace)).start()
        shared.stop()


# --- the dynamic client


def test_dynamic_config_map(resources: dynamic.DynamicClient, namespace: str) -> None:
    assert resources.version["kubernetes"]["minor"] == "36"
    maps = resources.resources.get(api_version="v1", kind="ConfigMap")
    body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c", "labels": {"foo": "bar"}}, "data": {"a": "1"}}
    assert maps.create(body=body, namespace=namespace).data.a == "1"
    body["data"] = {"b": "2"}
    assert maps.patch(body=body, namespace=namespace, content_type="application/merge-patch+json").data.b == "2"
    assert [item.metadata.name for item in maps.get(namespace=namespace, label_selector="foo=bar").items] == ["c"]
    # Applied over what an update wrote: a difference is refused, and taken over when forced.
    body["data"] = {"a": "9"}
    with pytest.raises(dynamic.exceptions.ConflictError, match=r"conflict with .*\.data\.a"):
        maps.server_side_apply(body=body, namespace=namespace, field_manager="example")
    taken = maps.server_side_apply(body=body, namespace=namespace, field_manager="example", force_conflicts=True)
    assert taken.data.a == "9"
    assert taken.metadata.managedFields[0].manager == "example"
    assert maps.delete(name="c", namespace=namespace).status == "Success"
    with pytest.raises(dynamic.exceptions.NotFoundError):
        maps.get(name="c", namespace=namespace)


def test_dynamic_watch_with_bookmarks_and_what_was_there(resources: dynamic.DynamicClient, namespace: str) -> None:
    maps = resources.resources.get(api_version="v1", kind="ConfigMap")
    maps.create(body={"metadata": {"name": "c"}}, namespace=namespace)
    events = maps.watch(
        namespace=namespace, timeout=20, allow_watch_bookmarks=True, send_initial_events=True, resource_version_match="NotOlderThan"
    )
    seen = []
    for event in events:
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "BOOKMARK":
            assert event["raw_object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            break
    assert seen == [("ADDED", "c"), ("ADDED", "kube-root-ca.crt"), ("BOOKMARK", None)]


def test_dynamic_metadata_only(resources: dynamic.DynamicClient) -> None:
    nodes = resources.resources.get(api_version="v1", kind="Node")
    answer = nodes.get(header_params={"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"})
    assert (answer.apiVersion, answer.kind) == ("meta.k8s.io/v1", "PartialObjectMetadataList")
    assert "spec" not in answer.items[0].to_dict()


def test_dynamic_finds_and_lists_every_kind(resources: dynamic.DynamicClient) -> None:
    found = [r for r in resources.resources.search() if "list" in (getattr(r, "verbs", None) or []) and "List" not in r.kind[-4:]]
    assert len({(r.group, r.kind) for r in found}) > 25
    for resource in found:
        assert resource.get().kind == f"{resource.kind}List"
    apps = resources.resources.get(api_version="apps/v1", kind="Deployment")
    assert {"scale", "status"} <= set(apps.subresources)


# --- manifests


def test_objects_from_yaml(manifests: Path, namespace: str) -> None:
    api, apps = client.ApiClient(), client.AppsV1Api()
    made = utils.create_from_yaml(api, str(manifests), namespace=namespace)
    assert [one.kind for many in made for one in many] == ["Deployment", "Service"]
    assert apps.read_namespaced_deployment("nginx-deployment", namespace).spec.replicas == 3
    with pytest.raises(utils.FailToCreateError, match="AlreadyExists"):
        utils.create_from_yaml(api, str(manifests), namespace=namespace)
    changed = next(yaml.safe_load_all(manifests.read_text()))
    changed["metadata"]["name"] = "applied"
    for replicas in (2, 1):
        changed["spec"]["replicas"] = replicas
        utils.create_from_dict(api, changed, namespace=namespace, apply=True)
        assert apps.read_namespaced_deployment("applied", namespace).spec.replicas == replicas


# --- leader election


def test_one_of_two_leads_and_the_other_takes_over(namespace: str) -> None:
    order: list[str] = []

    def candidate(name: str) -> threading.Thread:
        def lead() -> None:
            order.append(f"{name} leads")
            raise RuntimeError("a leader whose work fails gives up the lead")

        settings = electionconfig.Config(
            LeaseLock("example", namespace, name), 2, 1.5, 1, lead, lambda: order.append(f"{name} stopped")
        )
        thread = threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True)
        thread.start()
        return thread

    candidate("first").join(20)
    candidate("second").join(20)
    assert order == ["first leads", "first stopped", "second leads", "second stopped"]
    lease = client.CoordinationV1Api().read_namespaced_lease("example", namespace).spec
    assert (lease.holder_identity, lease.lease_duration_seconds) == ("second", 2)
    assert lease.renew_time >= lease.acquire_time


# --- a running pod


def test_logs(core: client.CoreV1Api, box: dict[str, Any]) -> None:
    assert core.read_namespaced_pod_log("box", "default", container="main") == "first line\nsecond line\n"
    lines = watch.Watch().stream(core.read_namespaced_pod_log, "box", "default", container="main", follow=True)
    assert [next(lines), next(lines)] == ["first line", "second line"]
    lines.close()


def test_exec(core: client.CoreV1Api, box: dict[str, Any]) -> None:
    def run(**more: Any) -> Any:
        return stream(core.connect_get_namespaced_pod_exec, "box", "default", container="main", stderr=True, stdout=True, **more)

    assert run(command=["sh", "-c", "echo to stdout"], stdin=False, tty=False) == "to stdout\n"
    shell = run(command=["sh"], stdin=True, tty=False, _preload_content=False)
    shell.write_stdin("echo one; echo two >&2\n")
    assert shell.readline_stdout(timeout=10) == "one"
    assert shell.readline_stderr(timeout=10) == "two"
    shell.write_stdin("exit 3\n")
    shell.run_forever(timeout=10)
    assert shell.returncode == 3


def test_port_forward(core: client.CoreV1Api, box: dict[str, Any]) -> None:
    forward = portforward(core.connect_get_namespaced_pod_portforward, "box", "default", ports="80")
    http = forward.socket(80)
    http.setblocking(True)
    http.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = b""
    while chunk := http.recv(4096):
        answer += chunk
    http.close()
    assert answer.startswith(b"HTTP/1.1 ")
    assert forward.error(80) is None
