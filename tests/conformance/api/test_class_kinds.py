"""Kinds of storage, networking, scheduling and nodes, and those that are only answered: over HTTP, guarded on update.

And what admission does with them: priorities and runtimes of pods, the default class of an Ingress, classes in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.kinds import resources
from holdfast.kinds.kind import Resource
from tests.serving import STORES, Answer, Api, api_server

pytestmark = pytest.mark.parametrize("store", STORES)
Obj = dict[str, Any]
NAMESPACE = "default"
AS_TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def api(tmp_path, store) -> AsyncIterator[Api]:
    async with api_server(tmp_path, store, pod_security="privileged") as server:
        yield server


def path(resource: Resource, name: str = "", subresource: str = "") -> str:
    return resource.path(NAMESPACE, name, subresource)


def made(resource: Resource, name: str = "a", **fields: Any) -> Obj:
    metadata = {"name": name} | fields.pop("metadata", {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata} | fields


async def create(api: Api, resource: Resource, name: str = "a", **fields: Any) -> Obj:
    answer = await api.post(path(resource), made(resource, name, **fields))
    assert answer.status == 201, answer.raw
    obj: Obj = answer.body
    return obj


def faults(answer: Answer) -> list[str]:
    assert (answer.status, answer.body["reason"]) == (422, "Invalid"), answer.raw
    return sorted(f"{cause['field']}: {cause['message']}" for cause in answer.body["details"]["causes"])


def pod(**spec: Any) -> Obj:
    return {"spec": {"containers": [{"name": "c", "image": "i:1"}]} | spec}


BACKEND = {"service": {"name": "s", "port": {"number": 80}}}
FIXED = "field is immutable"
KINDS: list[tuple[Resource, str, Obj, Obj, list[str]]] = [
    # resource, name, fields, a change that is refused, why
    (
        resources.CSIDRIVERS,
        "d.example",
        {"spec": {}},
        {"spec": {"attachRequired": False}},
        [f"spec.attachedRequired: Invalid value: false: {FIXED}"],
    ),
    (
        resources.CSINODES,
        "n",
        {"spec": {"drivers": [{"name": "d.example", "nodeID": "one"}]}},
        {"spec": {"drivers": [{"name": "d.example", "nodeID": "two"}]}},
        [f'spec.drivers: Invalid value: {{"name":"d.example","nodeID":"two"}}: {FIXED}'],
    ),
    (
        resources.CSISTORAGECAPACITIES,
        "c",
        {"storageClassName": "s", "capacity": "1024Mi"},
        {"storageClassName": "t"},
        [f'storageClassName: Invalid value: "t": {FIXED}'],
    ),
    (
        resources.VOLUMEATTACHMENTS,
        "v",
        {"spec": {"attacher": "d.example", "nodeName": "n", "source": {"persistentVolumeName": "p"}}},
        {"spec": {"nodeName": "m"}},
        [
            'spec: Invalid value: {"attacher":"d.example","nodeName":"m","source":{"persistentVolumeName":"p"}}: ' + FIXED,
        ],
    ),
    (
        resources.VOLUMEATTRIBUTESCLASSES,
        "v",
        {"driverName": "d.example", "parameters": {"a": "b"}},
        {"driverName": "e.example", "parameters": {"a": "c"}},
        ["driverName: Forbidden: updates to driverName are forbidden.", "parameters: Forbidden: updates to parameters are forbidden."],
    ),
    (
        resources.PRIORITYCLASSES,
        "p",
        {"value": 5},
        {"value": 6, "preemptionPolicy": "Never"},
        [f'preemptionPolicy: Invalid value: "Never": {FIXED}', "value: Forbidden: may not be changed in an update."],
    ),
    (resources.RUNTIMECLASSES, "r", {"handler": "h"}, {"handler": "g"}, [f'handler: Invalid value: "g": {FIXED}']),
    (
        resources.INGRESSES,
        "i",
        {"spec": {"defaultBackend": BACKEND}},
        {"spec": {"defaultBackend": None}},
        ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
    ),
    (
        resources.INGRESSCLASSES,
        "i",
        {"spec": {"controller": "c.example/x"}},
        {"spec": {"controller": "c.example/y"}},
        [f'spec.controller: Invalid value: "c.example/y": {FIXED}'],
    ),
    (
        resources.NETWORKPOLICIES,
        "n",
        {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}},
        {"spec": {"policyTypes": ["Sideways"]}},
        ['spec.policyTypes[0]: Unsupported value: "Sideways": supported values: "Ingress", "Egress"'],
    ),
    (
        resources.IPADDRESSES,
        "192.0.2.7",
        {"spec": {"parentRef": {"resource": "services", "namespace": "a", "name": "b"}}},
        {"spec": {"parentRef": {"name": "c"}}},
        [f'spec.parentRef: Invalid value: {{"resource":"services","namespace":"a","name":"c"}}: {FIXED}'],
    ),
    (
        resources.SERVICECIDRS,
        "s",
        {"spec": {"cidrs": ["192.0.2.0/24"]}},
        {"spec": {"cidrs": ["198.51.100.0/24"]}},
        [f'spec.cidrs[0]: Invalid value: "198.51.100.0/24": {FIXED}'],
    ),
]


@pytest.mark.parametrize(("resource", "name", "fields", "change", "why"), KINDS, ids=[row[0].plural for row in KINDS])
async def test_a_kind_is_served_and_guarded(api: Api, resource: Resource, name: str, fields: Obj, change: Obj, why: list[str]) -> None:
    answer = await api.post(path(resource), made(resource, name, **fields))
    assert answer.status == 201, answer.raw
    idle = [] if resource is resources.PRIORITYCLASSES else [f'299 - "no controller acts on objects of kind {resource.kind} yet"']
    assert answer.warnings == idle
    assert (await api.get(path(resource, name))).body == answer.body
    assert faults(await api.patch(path(resource, name), change)) == why
    table = (await api.get(path(resource), **AS_TABLE)).body
    (row,) = (row["cells"] for row in table["rows"] if row["cells"][0] == name)
    assert len(row) == len(table["columnDefinitions"])
    labelled = await api.patch(path(resource, name), {"metadata": {"labels": {"a": "b"}}})
    assert labelled.body["metadata"].get("generation") == answer.body["metadata"].get("generation")
    assert (await api.delete(path(resource, name))).status == 200


BAD: list[tuple[Resource, Obj, list[str]]] = [
    (
        resources.CSIDRIVERS,
        {
            "metadata": {"name": "d.example"},
            "spec": {
                "fsGroupPolicy": "Some",
                "volumeLifecycleModes": ["Eternal"],
                "tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}],
                "nodeAllocatableUpdatePeriodSeconds": 5,
            },
        },
        [
            'spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", "ReadWriteOnceWithFSType"',
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 5: must be greater than or equal to 10 seconds",
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            'spec.tokenRequests[1].audience: Duplicate value: "a"',
            'spec.volumeLifecycleModes: Unsupported value: "Eternal": supported values: "Persistent", "Ephemeral"',
        ],
    ),
    (
        resources.CSINODES,
        {"spec": {"drivers": [{"name": "", "nodeID": "", "allocatable": {"count": -1}}]}},
        [
            "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            "spec.drivers[0].name: Required value",
            "spec.drivers[0].nodeID: Required value",
        ],
    ),
    (
        resources.VOLUMEATTACHMENTS,
        {"spec": {"attacher": "d.example", "nodeName": "n", "source": {}}},
        ["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
    ),
    (
        resources.VOLUMEATTRIBUTESCLASSES,
        {"driverName": "", "parameters": {}},
        ["driverName: Required value", "parameters: Required value: must contain at least one key/value pair"],
    ),
    (
        resources.PRIORITYCLASSES,
        {"metadata": {"name": "system-mine"}, "value": 5},
        [
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only."
            " error: system-mine is not a known system priority class"
        ],
    ),
    (
        resources.INGRESSES,
        {
            "spec": {
                "rules": [
                    {"host": "192.0.2.1", "http": {"paths": []}},
                    {"host": "*.a.*", "http": {"paths": [{"path": "/a/../b", "pathType": "Exact", "backend": BACKEND}]}},
                    {"http": {"paths": [{"backend": BACKEND}]}},
                ]
            }
        },
        [
            'spec.rules[0].host: Invalid value: "192.0.2.1": must be a DNS name, not an IP address',
            "spec.rules[0].http.paths: Required value",
            "spec.rules[1].host: Invalid value: \"*.a.*\": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS"
            " subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
            " (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?"
            "(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "spec.rules[1].http.paths[0].path: Invalid value: \"/a/../b\": must not contain '/../'",
            "spec.rules[2].http.paths[0].pathType: Required value: pathType must be specified",
        ],
    ),
    (
        resources.INGRESSCLASSES,
        {"spec": {"controller": "c", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}},
        [
            'spec.controller: Invalid value: "c": must be a domain-prefixed path (such as "acme.io/foo")',
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ],
    ),
    (
        resources.NETWORKPOLICIES,
        {
            "spec": {
                "podSelector": {},
                "egress": [
                    {
                        "ports": [{"endPort": 5}, {"port": "http", "endPort": 5}, {"port": 9, "endPort": 5}],
                        "to": [
                            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8", "192.0.2.0/24"]}},
                            {"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}},
                        ],
                    }
                ],
            }
        },
        [
            "spec.egress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is not specified",
            "spec.egress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is non-numeric",
            "spec.egress[0].ports[2].endPort: Invalid value: 5: must be greater than or equal to `port`",
            'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
            'spec.egress[0].to[0].ipBlock.except[1]: Invalid value: "192.0.2.0/24": must be a strict subset of `cidr`',
            "spec.egress[0].to[1]: Forbidden: may not specify both ipBlock and another peer",
        ],
    ),
    (
        resources.IPADDRESSES,
        {"metadata": {"name": "2001:DB8::1"}, "spec": {"parentRef": {"resource": "services"}}},
        [
            'metadata.name: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")',
            "spec.parentRef.name: Required value",
        ],
    ),
    (
        resources.SERVICECIDRS,
        {"spec": {"cidrs": ["192.0.2.1/24", "x"]}},
        [
            'spec.cidrs[0]: Invalid value: "192.0.2.1/24": must not have bits set beyond the prefix length',
            'spec.cidrs[1]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
        ],
    ),
]


@pytest.mark.parametrize(("resource", "fields", "why"), BAD, ids=[row[0].plural for row in BAD])
async def test_every_fault_is_named(api: Api, resource: Resource, fields: Obj, why: list[str]) -> None:
    assert faults(await api.post(path(resource), made(resource, **fields))) == why


STATUSES: list[tuple[Resource, Obj, Obj]] = [
    (resources.INGRESSES, {"spec": {"defaultBackend": BACKEND}}, {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}),
    (
        resources.VOLUMEATTACHMENTS,
        {"spec": {"attacher": "d.example", "nodeName": "n", "source": {"persistentVolumeName": "p"}}},
        {"attached": True},
    ),
    (
        resources.SERVICECIDRS,
        {"spec": {"cidrs": ["192.0.2.0/24"]}},
        {
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2001-01-01T00:00:00Z"}
            ]
        },
    ),
]


@pytest.mark.parametrize(("resource", "fields", "status"), STATUSES, ids=[row[0].plural for row in STATUSES])
async def test_a_status_is_written_apart(api: Api, resource: Resource, fields: Obj, status: Obj) -> None:
    born = await create(api, resource, **fields, status=status)
    assert born["status"] != status
    assert (await api.patch(path(resource, "a"), {"status": status})).body["status"] == born["status"]
    reported = (await api.patch(path(resource, "a", "status"), {"status": status, "spec": {}})).body
    assert (reported["status"], reported["spec"]) == (status, born["spec"])


async def test_generations(api: Api) -> None:
    """An Ingress counts from 1, a driver from its first change, a priority not at all."""
    assert (await create(api, resources.INGRESSES, spec={"defaultBackend": BACKEND}))["metadata"]["generation"] == 1
    other = {"spec": {"defaultBackend": {"service": {"name": "t"}}}}
    assert (await api.patch(path(resources.INGRESSES, "a"), other)).body["metadata"]["generation"] == 2
    assert "generation" not in (await create(api, resources.CSIDRIVERS, spec={}))["metadata"]
    changed = await api.patch(path(resources.CSIDRIVERS, "a"), {"spec": {"requiresRepublish": True}})
    assert changed.body["metadata"]["generation"] == 1
    await create(api, resources.PRIORITYCLASSES, value=1)
    told = await api.patch(path(resources.PRIORITYCLASSES, "a"), {"description": "d"})
    assert (told.body["metadata"]["generation"], told.body["description"]) == (1, "d")


async def test_a_second_range_of_addresses_may_join_the_first(api: Api) -> None:
    await create(api, resources.SERVICECIDRS, spec={"cidrs": ["192.0.2.0/24"]})
    both = {"spec": {"cidrs": ["192.0.2.0/24", "2001:db8::/64"]}}
    assert (await api.patch(path(resources.SERVICECIDRS, "a"), both)).status == 200
    assert faults(await api.patch(path(resources.SERVICECIDRS, "a"), {"spec": {"cidrs": ["192.0.2.0/24"]}})) == [
        f'spec.cidrs: Invalid value: ["192.0.2.0/24"]: {FIXED}'
    ]


async def test_a_cluster_begins_with_its_classes_and_its_range(api: Api) -> None:
    listed = (await api.get(path(resources.PRIORITYCLASSES))).body["items"]
    assert {item["metadata"]["name"]: item["value"] for item in listed} == {
        "system-cluster-critical": 2_000_000_000,
        "system-node-critical": 2_000_001_000,
    }
    refused = await api.delete(path(resources.PRIORITYCLASSES, "system-node-critical"))
    assert (refused.status, refused.body["message"]) == (
        403,
        'priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: this is a system priority class and cannot be deleted',
    )
    found = (await api.get(path(resources.SERVICECIDRS, "kubernetes"))).body
    assert found["spec"]["cidrs"] == [str(api.registry.addresses.network)]
    (condition,) = found["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "True")


# Admission.


async def test_priorities_of_pods(api: Api) -> None:
    plain = (await create(api, resources.PODS, **pod()))["spec"]
    assert (plain["priority"], plain["preemptionPolicy"], plain.get("priorityClassName")) == (0, "PreemptLowerPriority", None)
    await create(api, resources.PRIORITYCLASSES, "usual", value=7, globalDefault=True, preemptionPolicy="Never")
    second = await api.post(path(resources.PRIORITYCLASSES), made(resources.PRIORITYCLASSES, "b", value=8, globalDefault=True))
    assert second.status == 403
    assert second.body["message"].endswith("PriorityClass usual is already marked as default. Only one default can exist")
    usual = (await create(api, resources.PODS, "b", **pod()))["spec"]
    assert (usual["priority"], usual["preemptionPolicy"], usual["priorityClassName"]) == (7, "Never", "usual")
    named = (await create(api, resources.PODS, "c", **pod(priorityClassName="system-node-critical")))["spec"]
    assert named["priority"] == 2_000_001_000
    computed = "must not be provided in pod spec; priority admission controller computed"
    for spec, why in (
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        ({"priority": 9}, f"the integer value of priority (9) {computed} 7 from the given PriorityClass name"),
        (
            {"preemptionPolicy": "PreemptLowerPriority"},
            f"the string value of PreemptionPolicy (PreemptLowerPriority) {computed} Never from the given PriorityClass name",
        ),
    ):
        answer = await api.post(path(resources.PODS), made(resources.PODS, "d", **pod(**spec)))
        assert (answer.status, answer.body["message"]) == (403, f'pods "d" is forbidden: {why}')


async def test_runtimes_of_pods(api: Api) -> None:
    taint = {"key": "sandbox", "operator": "Exists"}
    scheduling = {"nodeSelector": {"kind": "sandbox"}, "tolerations": [taint]}
    await create(api, resources.RUNTIMECLASSES, "sandbox", handler="h", overhead={"podFixed": {"cpu": "250m"}}, scheduling=scheduling)
    given = (await create(api, resources.PODS, **pod(runtimeClassName="sandbox", nodeSelector={"disk": "fast"})))["spec"]
    assert given["overhead"] == {"cpu": "250m"}
    assert given["nodeSelector"] == {"disk": "fast", "kind": "sandbox"}
    assert taint in given["tolerations"]
    conflict = "conflict: runtimeClass.scheduling.nodeSelector[kind] = sandbox; pod.spec.nodeSelector[kind] = bare"
    for spec, why in (
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        ({"overhead": {"cpu": "1"}}, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        (
            {"runtimeClassName": "sandbox", "overhead": {"cpu": "1"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        ({"runtimeClassName": "sandbox", "nodeSelector": {"kind": "bare"}}, conflict),
    ):
        answer = await api.post(path(resources.PODS), made(resources.PODS, "d", **pod(**spec)))
        assert (answer.status, answer.body["message"]) == (403, f'pods "d" is forbidden: {why}')


async def test_an_ingress_without_a_class_gets_the_default_one(api: Api) -> None:
    spec = {"defaultBackend": BACKEND}
    assert "ingressClassName" not in (await create(api, resources.INGRESSES, spec=spec))["spec"]
    mark = {"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
    await create(api, resources.INGRESSCLASSES, "usual", metadata=mark, spec={"controller": "c.example/x"})
    assert (await create(api, resources.INGRESSES, "b", spec=spec))["spec"]["ingressClassName"] == "usual"
    old = {"annotations": {"kubernetes.io/ingress.class": "other"}}
    assert "ingressClassName" not in (await create(api, resources.INGRESSES, "c", metadata=old, spec=spec))["spec"]
    both = made(resources.INGRESSES, "d", metadata=old, spec=spec | {"ingressClassName": "usual"})
    assert faults(await api.post(path(resources.INGRESSES), both)) == [
        'annotations.kubernetes.io/ingress.class: Invalid value: "other": must match `ingressClassName` when both are specified'
    ]


async def test_a_class_of_volumes_stays_while_a_claim_names_it(api: Api) -> None:
    await create(api, resources.VOLUMEATTRIBUTESCLASSES, "gold", driverName="d.example", parameters={"a": "b"})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    await create(api, resources.PERSISTENTVOLUMECLAIMS, spec=claim | {"volumeAttributesClassName": "gold"})
    going = await api.delete(path(resources.VOLUMEATTRIBUTESCLASSES, "gold"))
    assert going.body["metadata"]["deletionTimestamp"]
    assert going.body["metadata"]["finalizers"] == ["kubernetes.io/vac-protection"]
    watching = f"{path(resources.VOLUMEATTRIBUTESCLASSES)}?watch=1&resourceVersion={going.body['metadata']['resourceVersion']}"
    async with asyncio.timeout(10):
        async with api.open("GET", watching) as stream:
            assert (await api.delete(path(resources.PERSISTENTVOLUMECLAIMS, "a"))).status == 200
            assert b'"DELETED"' in await stream.content.readline()
    assert (await api.get(path(resources.VOLUMEATTRIBUTESCLASSES, "gold"))).status == 404


# Kinds that are answered and never stored.


async def test_a_binding_to_the_collection_binds_its_namesake(api: Api) -> None:
    await create(api, resources.PODS, **pod(schedulerName="nobody"))
    binding = made(resources.BINDINGS, target={"kind": "Node", "name": "n"})
    answer = await api.post(path(resources.BINDINGS), binding)
    assert (answer.status, answer.body["status"]) == (201, "Success")
    assert (await api.get(path(resources.PODS, "a"))).body["spec"]["nodeName"] == "n"
    assert (await api.post(path(resources.BINDINGS), binding)).status == 409
    assert (await api.post(path(resources.BINDINGS), made(resources.BINDINGS, "b", target={"name": "n"}))).status == 404
    unnamed = await api.post(path(resources.BINDINGS), {"kind": "Binding", "apiVersion": "v1", "target": {"name": "n"}})
    assert (unnamed.status, unnamed.body["reason"]) == (400, "BadRequest")


REVIEWS = (
    resources.SELFSUBJECTREVIEWS,
    resources.TOKENREVIEWS,
    resources.SELFSUBJECTACCESSREVIEWS,
    resources.SELFSUBJECTRULESREVIEWS,
    resources.SUBJECTACCESSREVIEWS,
    resources.LOCALSUBJECTACCESSREVIEWS,
)


@pytest.mark.parametrize("resource", REVIEWS, ids=lambda r: r.plural)
async def test_a_review_is_asked_and_nothing_else(api: Api, resource: Resource) -> None:
    for method in ("GET", "DELETE"):
        assert (await api.call(method, path(resource))).status == 405
    other = await api.post(path(resource), {"kind": "ConfigMap", "apiVersion": resource.api_version, "metadata": {"name": "a"}})
    assert (other.status, other.body["reason"]) == (400, "BadRequest")
    for nonsense in ({"spec": []}, {"spec": {"resourceAttributes": 1, "token": 1}}):
        assert (await api.post(path(resource), nonsense)).status in (201, 400, 422)
    entry = await api.get(f"/apis/{resource.api_version}")
    (found,) = (each for each in entry.body["resources"] if each["name"] == resource.plural)
    assert (found["kind"], found["verbs"], found["namespaced"]) == (resource.kind, ["create"], resource.namespaced)
