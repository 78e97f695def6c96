"""What is refused, and in which words: excerpts of a real API server's answers."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from holdfast.kinds.builtin import BUILTIN, builtin_table
from holdfast.kinds.kind import Resource
from holdfast.kinds.resources import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    CONTROLLERREVISIONS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    ROLEBINDINGS,
    ROLES,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
)
from holdfast.machinery.default import apply_defaults
from holdfast.machinery.validate import validate

TABLE = builtin_table()
STS_TEXT = (
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy',"
    " 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
CLAIM_TEXT = (
    "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def faults(resource: Resource, obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    kind = TABLE.of(resource)
    new = {"kind": resource.kind, "metadata": {"name": "x", "namespace": "ns"}, **copy.deepcopy(obj)}
    apply_defaults(kind.schema, new)
    for prepare in kind.prepare:
        prepare(new, old)
    found = validate(kind.schema, new, old) + [error for check in kind.checks for error in check(new, old, "")]
    if old is None and kind.name_check:
        found += kind.name_check(new["metadata"]["name"], "metadata.name")
    return [str(error).split("\n")[0] for error in found]


def changed(resource: Resource, obj: dict[str, Any], **fields: Any) -> list[str]:
    """Faults of an update of ``obj``; ``fields`` are paths with ``__`` for dots, None removes."""
    kind = TABLE.of(resource)
    old = {"kind": resource.kind, "metadata": {"name": "x", "namespace": "ns"}, **copy.deepcopy(obj)}
    apply_defaults(kind.schema, old)
    new = copy.deepcopy(old)
    for path, value in fields.items():
        *parents, last = path.split("__")
        place: Any = new
        for part in parents:
            place = place[int(part)] if part.isdigit() else place[part]
        place[last] = value
        if value is None:
            del place[last]
    return faults(resource, new, old)


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers) or [{"name": "c", "image": "i:1"}], **spec}}


def sts(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, **pod()}
    return {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec}}


def one(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": "i:1", **fields}


C0 = "spec.containers[0]"
POD_CASES = [
    ({"spec": {"containers": []}}, ["spec.containers: Required value"]),
    (pod({}), [f"{C0}.name: Required value", f"{C0}.image: Required value"]),
    (pod({"name": "a", "image": " i "}), [f'{C0}.image: Invalid value: " i ": must not have leading or trailing whitespace']),
    (
        pod(one(), one(), initContainers=[one()]),
        ['spec.containers[1].name: Duplicate value: "c"', 'spec.initContainers[0].name: Duplicate value: "c"'],
    ),
    (pod(one(ports=[{"containerPort": 0}])), [f"{C0}.ports[0].containerPort: Required value"]),
    (
        pod(one(ports=[{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}])),
        [f'{C0}.ports[1].hostPort: Duplicate value: "TCP//80"'],
    ),
    (
        pod(one(ports=[{"containerPort": 83, "protocol": "ICMP"}])),
        [f'{C0}.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
    ),
    (pod(one(volumeMounts=[{"name": "none", "mountPath": "/a"}])), [f'{C0}.volumeMounts[0].name: Not found: "none"']),
    (
        pod(one(volumeMounts=[{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]), volumes=[{"name": "v"}]),
        [f'{C0}.volumeMounts[1].mountPath: Invalid value: "/a": must be unique'],
    ),
    (
        pod(volumes=[{"name": "two", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
        ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    ),
    (
        pod(volumes=[{"name": "f", "nfs": {"server": "s", "path": "rel"}}]),
        ['spec.volumes[0].nfs.path: Invalid value: "rel": must be an absolute path'],
    ),
    (
        pod(one(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
        [f'{C0}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
    ),
    (
        pod(one(env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])),
        [f'{C0}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
    ),
    (
        pod(one(env=[{"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "nope"}}}])),
        [
            f'{C0}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "nope":'
            " error converting fieldPath: field label not supported: nope"
        ],
    ),
    (
        pod(one(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2})),
        [f"{C0}.livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    ),
    (pod(one(readinessProbe={})), [f"{C0}.readinessProbe: Required value: must specify a handler type"]),
    (
        pod(initContainers=[{"name": "i", "image": "i:1", "livenessProbe": {"tcpSocket": {"port": 1}}}]),
        ["spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"],
    ),
    (
        pod(restartPolicy="Sometimes"),
        ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
    ),
    (pod(dnsPolicy="None"), ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
    (
        pod(activeDeadlineSeconds=0, terminationGracePeriodSeconds=-1),
        ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    ),
    (pod(subdomain="a.b"), ['spec.subdomain: Invalid value: "a.b": must not contain dots']),
    (
        pod(tolerations=[{"key": "k", "effect": "NoSchedule", "tolerationSeconds": 5}]),
        ["spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"],
    ),
    (pod(ephemeralContainers=[{"name": "e", "image": "i"}]), ["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
    (
        pod(schedulingGates=[{"name": "a"}, {"name": "a"}]),
        ['spec.schedulingGates[1]: Duplicate value: "a"'],
    ),
]


@pytest.mark.parametrize(("obj", "expected"), POD_CASES)
def test_pods(obj: dict[str, Any], expected: list[str]) -> None:
    assert faults(PODS, obj) == expected


def test_pod_updates() -> None:
    base = pod()
    assert changed(PODS, base, spec__containers__0__image="i:2") == []
    assert changed(PODS, base, spec__activeDeadlineSeconds=50) == []
    assert changed(PODS, base, spec__tolerations=[{"key": "k", "operator": "Exists"}]) == []
    assert changed(PODS, base, spec__containers__0__image="") == [f"{C0}.image: Required value"]
    for fields in ({"spec__nodeName": "n"}, {"spec__restartPolicy": "Never"}, {"spec__terminationGracePeriodSeconds": 5}):
        (text,) = changed(PODS, base, **fields)
        assert text.startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,")
    (text,) = changed(PODS, base, spec__containers=[one(), {"name": "d", "image": "i"}])
    assert text == "spec.containers: Forbidden: pod updates may not add or remove containers"
    shorter = changed(PODS, pod(activeDeadlineSeconds=50), spec__activeDeadlineSeconds=60)
    assert shorter == ["spec.activeDeadlineSeconds: Invalid value: 60: must be less than or equal to previous value"]


def test_an_empty_status_field_never_blocks_a_pod_update() -> None:
    waiting = {"name": "c", "image": "i:1", "imageID": "", "ready": False, "restartCount": 0, "state": {"waiting": {}}}
    base = {**pod(), "status": {"phase": "Pending", "containerStatuses": [waiting]}}
    assert changed(PODS, base, metadata__labels={"a": "b"}) == []


def test_gated_pods_lose_gates_only() -> None:
    base = pod(schedulingGates=[{"name": "a"}])
    assert changed(PODS, base, spec__schedulingGates=[]) == []
    assert changed(PODS, base, spec__nodeSelector={"a": "b"}) == []
    assert changed(PODS, base, spec__schedulingGates=[{"name": "b"}]) == [
        "spec.schedulingGates[0]: Forbidden: only deletion is allowed, but found new scheduling gate 'b'"
    ]


STS_CASES = [
    (
        {"spec": {}},
        {
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            "spec.template.spec.containers: Required value",
        },
    ),
    (
        sts(selector={"matchLabels": {"app": "other"}}),
        {'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`'},
    ),
    (sts(selector={}), {"spec.selector: Invalid value: {}: empty selector is invalid for statefulset"}),
    (sts(replicas=-1), {"spec.replicas: Invalid value: -1: must be greater than or equal to 0"}),
    (
        sts(podManagementPolicy="Fast"),
        {"spec.podManagementPolicy: Invalid value: \"Fast\": must be 'OrderedReady' or 'Parallel'"},
    ),
    (
        sts(updateStrategy={"type": "Replace"}),
        {'spec.updateStrategy: Invalid value: {"Type":"Replace","RollingUpdate":null}: must be \'RollingUpdate\' or \'OnDelete\''},
    ),
    (sts(updateStrategy={"type": "Recreate"}), set()),
    (
        sts(updateStrategy={"type": "Recreate", "rollingUpdate": {"partition": 1}}),
        {
            'spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}:'
            " only allowed for updateStrategy 'RollingUpdate'"
        },
    ),
    (
        sts(updateStrategy={"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
        {
            'spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}:'
            " only allowed for updateStrategy 'RollingUpdate'"
        },
    ),
    (sts(ordinals={"start": -1}), {"spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"}),
    (
        sts(persistentVolumeClaimRetentionPolicy={"whenDeleted": "Maybe"}),
        {'spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Maybe": supported values: "Retain", "Delete"'},
    ),
    (sts(revisionHistoryLimit=-1), set()),
    (sts(replicas=1, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 10}}), set()),
    ({**sts(), "metadata": {"name": "a.b"}}, {'metadata.name: Invalid value: "a.b": must not contain dots'}),
    ({**sts(), "metadata": {"name": "1a"}}, set()),
]


@pytest.mark.parametrize(("obj", "expected"), STS_CASES)
def test_stateful_sets(obj: dict[str, Any], expected: set[str]) -> None:
    assert set(faults(STATEFULSETS, obj)) == expected


def test_claim_templates_are_volumes_of_the_template() -> None:
    claim = {"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    obj = sts(volumeClaimTemplates=[claim])
    obj["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "d", "mountPath": "/d"}]
    assert faults(STATEFULSETS, obj) == []
    assert changed(STATEFULSETS, obj, spec__replicas=3, spec__minReadySeconds=2, spec__ordinals={"start": 2}) == []
    larger = [{**claim, "spec": {**claim["spec"], "resources": {"requests": {"storage": "2Gi"}}}}]
    assert changed(STATEFULSETS, obj, spec__volumeClaimTemplates=larger) == [STS_TEXT]
    assert changed(STATEFULSETS, obj, spec__serviceName="y") == [STS_TEXT]
    obj["spec"]["volumeClaimTemplates"][0]["spec"] = {}
    assert faults(STATEFULSETS, obj) == [
        "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
        "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
    ]


def test_stateful_set_status_counts_agree() -> None:
    new, old = {"status": {"replicas": 1, "readyReplicas": 2, "collisionCount": 0}}, {"status": {"collisionCount": 1}}
    found = [error for check in TABLE.of(STATEFULSETS).status_checks for error in check(new, old, "")]
    assert [str(error) for error in found] == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.collisionCount: Invalid value: 0: cannot be decremented",
    ]


def test_services() -> None:
    assert faults(SERVICES, {"spec": {}}) == ["spec.ports: Required value"]
    assert faults(SERVICES, {"spec": {"clusterIP": "None"}}) == []
    assert faults(SERVICES, {"spec": {"ports": [{"port": 80}, {"port": 81}]}}) == [
        "spec.ports[0].name: Required value",
        "spec.ports[1].name: Required value",
    ]
    assert faults(SERVICES, {"spec": {"type": "Nope", "ports": [{"port": 80}]}}) == [
        'spec.type: Unsupported value: "Nope": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
    ]
    named = {"spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": "None"}}
    assert faults(SERVICES, named) == ["spec.clusterIPs: Forbidden: may not be set for ExternalName services"]
    has = {"spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}}
    other = {"spec__clusterIP": "10.96.0.8", "spec__clusterIPs": ["10.96.0.8"]}
    assert changed(SERVICES, has, **other) == ['spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set']
    assert changed(SERVICES, has, spec__clusterIP=None, spec__clusterIPs=None) == []


def test_a_service_lets_go_of_what_its_new_type_cannot_have() -> None:
    exposed = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}
    assert changed(SERVICES, {"spec": exposed}, spec__type="ClusterIP") == []
    assert changed(SERVICES, {"spec": exposed}, spec__type="ExternalName", spec__externalName="a.example") == []
    kept = {"spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    TABLE.of(SERVICES).prepare[0](kept, {"spec": exposed})
    assert kept["spec"]["ports"] == [{"port": 80, "nodePort": 30080}]
    assert kept["spec"]["clusterIP"] == "10.96.0.9"


CLAIM = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "sc"}}


def test_claims() -> None:
    assert faults(PERSISTENTVOLUMECLAIMS, {}) == [
        "spec.accessModes: Required value: at least 1 access mode is required",
        "spec.resources[storage]: Required value",
    ]
    zero = {"spec": {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"], "resources": {"requests": {"storage": "0"}}}}
    assert faults(PERSISTENTVOLUMECLAIMS, zero) == [
        "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        'spec.resources[storage]: Invalid value: "0": must be greater than zero',
    ]
    bigger = {"spec__resources": {"requests": {"storage": "2Gi"}}}
    smaller = {"spec__resources": {"requests": {"storage": "1Mi"}}}
    assert changed(PERSISTENTVOLUMECLAIMS, CLAIM, spec__volumeName="pv1") == []
    assert changed(PERSISTENTVOLUMECLAIMS, CLAIM, **bigger) == [CLAIM_TEXT]
    assert changed(PERSISTENTVOLUMECLAIMS, CLAIM, spec__storageClassName="other") == [CLAIM_TEXT]
    assert changed(PERSISTENTVOLUMECLAIMS, CLAIM, spec__volumeMode="Block") == [
        CLAIM_TEXT,
        'volumeMode: Invalid value: "Block": field is immutable',
    ]
    bound = {"spec": {**CLAIM["spec"], "volumeName": "pv"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
    assert changed(PERSISTENTVOLUMECLAIMS, bound, **bigger) == []
    assert changed(PERSISTENTVOLUMECLAIMS, bound, **smaller) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]
    same = {"spec__resources": {"requests": {"storage": "1500Mi"}}}
    failing = {**bound, "spec": {**bound["spec"], "resources": {"requests": {"storage": "9Gi"}}}}
    assert changed(PERSISTENTVOLUMECLAIMS, failing, **same) == [], "H10: less again, but more than there is"
    assert changed(PERSISTENTVOLUMECLAIMS, failing, spec__resources={"requests": {"storage": "1Gi"}}) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]
    gold = {"spec": {**bound["spec"], "volumeAttributesClassName": "gold"}, "status": {**bound["status"]}}
    assert changed(PERSISTENTVOLUMECLAIMS, gold, spec__volumeAttributesClassName="silver") == []
    assert changed(PERSISTENTVOLUMECLAIMS, gold, spec__volumeAttributesClassName=None) == []
    gold["status"]["currentVolumeAttributesClassName"] = "gold"
    for value, what in ((None, "nil"), ("", "an empty string")):
        assert changed(PERSISTENTVOLUMECLAIMS, gold, spec__volumeAttributesClassName=value) == [
            f"spec.volumeAttributesClassName: Forbidden: update to {what} is forbidden when"
            " status.currentVolumeAttributesClassName is not nil"
        ]
    classless = {"spec": {k: v for k, v in CLAIM["spec"].items() if k != "storageClassName"}}
    assert changed(PERSISTENTVOLUMECLAIMS, classless, spec__storageClassName="later") == []


def test_volumes() -> None:
    base = {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/d"}}}
    assert faults(PERSISTENTVOLUMES, base) == []
    assert faults(PERSISTENTVOLUMES, {}) == [
        "spec.accessModes: Required value",
        "spec.capacity: Required value",
        'spec.capacity: Unsupported value: null: supported values: "storage"',
        "spec: Required value: must specify a volume type",
    ]
    assert changed(PERSISTENTVOLUMES, base, spec__hostPath={"path": "/e"}) == [
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
    ]
    assert changed(PERSISTENTVOLUMES, base, spec__capacity={"storage": "2Gi"}) == []
    terms = {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]}}
    assert changed(PERSISTENTVOLUMES, base, spec__nodeAffinity=terms) == []
    nowhere = {"spec": {**base["spec"], "nodeAffinity": {}}}
    assert faults(PERSISTENTVOLUMES, nowhere) == ["spec.nodeAffinity.required: Required value: must specify required node constraints"]
    pinned = {"spec": {**base["spec"], "nodeAffinity": terms}}
    assert changed(PERSISTENTVOLUMES, pinned, spec__nodeAffinity=None) == ["spec.nodeAffinity: Invalid value: null: field is immutable"]
    local = {"spec": {**base["spec"], "local": {"path": "/d"}}}
    del local["spec"]["hostPath"]
    assert faults(PERSISTENTVOLUMES, local) == ["spec.nodeAffinity: Required value: Local volume requires node affinity"]


def test_storage_classes() -> None:
    base = {"provisioner": "p.example"}
    assert faults(STORAGECLASSES, {}) == ["provisioner: Required value"]
    assert changed(STORAGECLASSES, base, provisioner="other") == ['provisioner: Invalid value: "other": field is immutable']
    assert changed(STORAGECLASSES, base, parameters={"a": "b"}) == ['parameters: Invalid value: {"a":"b"}: field is immutable']
    assert changed(STORAGECLASSES, base, allowVolumeExpansion=True) == []
    good = [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]
    assert faults(STORAGECLASSES, {**base, "allowedTopologies": good}) == []
    twice = [{"key": "zone", "values": ["a", "a"]}, {"key": "zone", "values": []}]
    lead = "allowedTopologies[0].matchLabelExpressions"
    assert set(faults(STORAGECLASSES, {**base, "allowedTopologies": [{"matchLabelExpressions": twice}]})) == {
        f'{lead}[0].values[1]: Duplicate value: "a"',
        f"{lead}[1].values: Required value",
        f'{lead}[1].key: Duplicate value: "zone"',
    }


def test_h10_what_the_status_of_a_claim_may_say_of_its_growth() -> None:
    for stage, fine in (("NodeResizePending", True), ("Later", False)):
        new = {"status": {"allocatedResourceStatuses": {"storage": stage}}}
        found = [str(error) for check in TABLE.of(PERSISTENTVOLUMECLAIMS).status_checks for error in check(new, {}, "")]
        assert bool(found) is not fine
        if found:
            lead = 'status.allocatedResourceStatus[storage]: Unsupported value: "Later": supported values: "ControllerResizeInfeasible"'
            assert found[0].startswith(lead)


def test_config_maps_and_secrets() -> None:
    assert faults(CONFIGMAPS, {"data": {"..": "y"}}) == ["data[..]: Invalid value: \"..\": must not be '..'"]
    assert faults(CONFIGMAPS, {"data": {"k": "x"}, "binaryData": {"k": "YQ=="}}) == [
        'data[k]: Invalid value: "k": duplicate of key present in binaryData'
    ]
    assert faults(CONFIGMAPS, {"data": {"k": "x" * (1024 * 1024 + 1)}}) == ["[]: Too long: may not be more than 1048576 bytes"]
    frozen = {"data": {"k": "x"}, "immutable": True}
    assert changed(CONFIGMAPS, frozen, data={"k": "y"}) == ["data: Forbidden: field is immutable when `immutable` is set"]
    assert changed(CONFIGMAPS, frozen, immutable=None) == ["immutable: Forbidden: field is immutable when `immutable` is set"]
    tls = {"type": "kubernetes.io/tls", "data": {}}
    assert faults(SECRETS, tls) == ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
    assert faults(SECRETS, {"type": "kubernetes.io/service-account-token"}) == [
        "metadata.annotations[kubernetes.io/service-account.name]: Required value"
    ]
    assert changed(SECRETS, {"data": {}}, type="other") == ['type: Invalid value: "other": field is immutable']


def test_rbac() -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"]}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}, {"verbs": ["get"]}]
    assert set(faults(ROLES, {"rules": rules})) == {
        "rules[0].verbs: Required value: verbs must contain at least one value",
        'rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
        "rules[2].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[2].resources: Required value: resource rules must supply at least one resource",
    }
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    assert faults(ROLEBINDINGS, {"roleRef": {"kind": "Foo", "name": ""}}) == [
        'roleRef.kind: Unsupported value: "Foo": supported values: "Role", "ClusterRole"',
        "roleRef.name: Required value",
    ]
    assert changed(ROLEBINDINGS, {"roleRef": reference}, roleRef__name="edit") == [
        'roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"edit"}: cannot change roleRef'
    ]
    account = {"kind": "ServiceAccount", "name": "a"}
    assert faults(CLUSTERROLEBINDINGS, {"roleRef": reference, "subjects": [account]}) == ["subjects[0].namespace: Required value"]


def test_small_kinds() -> None:
    assert faults(LEASES, {"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}) == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
    ]
    assert faults(CONTROLLERREVISIONS, {"revision": -1}) == [
        "revision: Invalid value: -1: must be greater than or equal to 0",
        "data: Required value: data is mandatory",
    ]
    assert changed(CONTROLLERREVISIONS, {"revision": 1, "data": {"a": 1}}, data={"a": 2}) == [
        'data: Invalid value: {"a":2}: field is immutable'
    ]
    assert faults(EVENTS, {"involvedObject": {"namespace": "other"}}) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]
    assert faults(ENDPOINTSLICES, {"addressType": "X", "endpoints": [{"addresses": []}]}) == [
        'addressType: Unsupported value: "X": supported values: "FQDN", "IPv4", "IPv6"',
        "endpoints[0].addresses: Required value: must contain at least 1 address",
    ]
    subset = {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 0}]}
    assert faults(ENDPOINTS, {"subsets": [subset]}) == [
        'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
        "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    ]
    assert faults(NAMESPACES, {"spec": {"finalizers": ["nope"]}}) == [
        'spec.finalizers: Invalid value: "nope": name is neither a standard finalizer name nor is it fully qualified'
    ]
    assert changed(NODES, {"spec": {"podCIDR": "192.0.2.0/25"}}, spec__podCIDRs=["192.0.2.128/25"]) == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid'
    ]


def test_grace_of_pods() -> None:
    grace = TABLE.of(PODS).default_grace
    assert grace
    assert grace({"spec": {"terminationGracePeriodSeconds": 5}}) == 0
    assert grace({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5}}) == 5
    assert grace({"spec": {"nodeName": "n"}, "status": {"phase": "Succeeded"}}) == 0
    assert grace({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 0}}) == 0


def test_every_kind_is_whole() -> None:
    keys = [(kind.resource.group, kind.resource.version, kind.resource.plural) for kind in BUILTIN]
    assert len(set(keys)) == len(keys)
    kept = [kind for kind in BUILTIN if kind.storage]
    shared = [kind.storage for kind in kept]
    assert sorted(s for s in set(shared) if shared.count(s) > 1) == ["events", "horizontalpodautoscalers"]
    assert {kind.verbs for kind in BUILTIN if not kind.storage} == {("create",)}
    for kind in BUILTIN:
        assert kind.schema.properties
    for kind in kept:
        assert kind.columns[0].name in ("Name", "Last Seen")
        assert ("status" in kind.subresources) == kind.has_status
