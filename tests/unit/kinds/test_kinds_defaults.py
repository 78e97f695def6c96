"""What a short manifest is stored as: excerpts of a real API server's answers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st

from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.definitions.amounts import canonical
from holdfast.kinds.definitions.container import pull_policy
from holdfast.kinds.kind import Resource
from holdfast.kinds.resources import (
    CLUSTERROLEBINDINGS,
    ENDPOINTSLICES,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    ROLES,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
)
from holdfast.machinery import quantity
from holdfast.machinery.default import apply_defaults

TABLE = builtin_table()


def stored(resource: Resource, **fields: Any) -> dict[str, Any]:
    kind = TABLE.of(resource)
    obj = {"metadata": {"name": "x"}, **copy.deepcopy(fields)}
    apply_defaults(kind.schema, obj)
    for prepare in kind.prepare:
        prepare(obj, None)
    again = copy.deepcopy(obj)
    apply_defaults(kind.schema, again)
    assert again == obj, "defaults must be stable"
    return obj


def test_minimal_pod() -> None:
    pod = stored(PODS, spec={"containers": [{"name": "c", "image": "busybox"}]})
    assert pod["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "busybox",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "Always",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }
    assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("i:1", "IfNotPresent"),
        ("i:latest", "Always"),
        ("i@sha256:00", "IfNotPresent"),
        ("reg.example:5000/i", "Always"),
        ("reg.example:5000/i:2", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_probe_handlers() -> None:
    container = {"name": "c", "image": "i", "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"grpc": {"port": 9}}}
    found = stored(PODS, spec={"containers": [container]})["spec"]["containers"][0]
    numbers = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    assert found["livenessProbe"] == {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, **numbers}
    assert found["readinessProbe"] == {"grpc": {"port": 9, "service": ""}, **numbers}


def test_limits_become_requests_of_pods_only() -> None:
    spec = {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1000m", "memory": "1.5Gi"}}}]}
    pod = stored(PODS, spec=spec)
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1536Mi"}
    assert pod["status"]["qosClass"] == "Guaranteed"
    template = stored(STATEFULSETS, spec={"template": {"spec": spec}})["spec"]["template"]
    assert "requests" not in template["spec"]["containers"][0]["resources"]


def test_host_network_ports() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    found = stored(PODS, spec={"hostNetwork": True, "containers": [{"name": "c", "image": "i", "ports": ports}]})
    assert found["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "hostPort": 80, "protocol": "TCP"},
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
    ]


def test_volume_sources() -> None:
    given = [
        {"name": "h", "hostPath": {"path": "/x"}},
        {"name": "c", "configMap": {"name": "x"}},
        {"name": "r", "rbd": {"monitors": ["m"], "image": "i"}},
        {"name": "n"},
    ]
    volumes = stored(PODS, spec={"containers": [], "volumes": given})["spec"]["volumes"]
    assert volumes == [
        {"name": "h", "hostPath": {"path": "/x", "type": ""}},
        {"name": "c", "configMap": {"name": "x", "defaultMode": 420}},
        {"name": "r", "rbd": {"monitors": ["m"], "image": "i", "pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}},
        {"name": "n", "emptyDir": {}},
    ]


def test_service_account_mirrors_its_old_name() -> None:
    for given in ({"serviceAccountName": "a"}, {"serviceAccount": "a"}):
        spec = stored(PODS, spec={"containers": [], **given})["spec"]
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("a", "a")


def test_minimal_stateful_set() -> None:
    found = stored(STATEFULSETS, spec={"selector": {"matchLabels": {"a": "b"}}, "podManagementPolicy": ""})
    spec = found["spec"]
    assert spec["replicas"] == 1
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["revisionHistoryLimit"] == 10
    assert spec["serviceName"] == ""
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert found["status"] == {"replicas": 0, "availableReplicas": 0}
    assert "enableServiceLinks" not in spec["template"]["spec"]


def test_named_rolling_update_stays_as_written() -> None:
    assert stored(STATEFULSETS, spec={"updateStrategy": {"type": "RollingUpdate"}})["spec"]["updateStrategy"] == {
        "type": "RollingUpdate"
    }
    assert stored(STATEFULSETS, spec={"ordinals": {}})["spec"]["ordinals"] == {"start": 0}


def test_claim_template() -> None:
    claim = {"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    found = stored(STATEFULSETS, spec={"volumeClaimTemplates": [claim]})["spec"]["volumeClaimTemplates"][0]
    assert (found["apiVersion"], found["kind"], found["status"]) == ("v1", "PersistentVolumeClaim", {"phase": "Pending"})
    assert found["spec"]["volumeMode"] == "Filesystem"


def test_services() -> None:
    plain = stored(SERVICES, spec={"ports": [{"port": 80}]})
    assert plain["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }
    assert plain["status"] == {"loadBalancer": {}}
    balanced = stored(SERVICES, spec={"type": "LoadBalancer", "ports": [{"port": 80}]})["spec"]
    assert balanced["externalTrafficPolicy"] == "Cluster"
    assert balanced["allocateLoadBalancerNodePorts"] is True
    sticky = stored(SERVICES, spec={"sessionAffinity": "ClientIP", "ports": [{"port": 80}]})["spec"]
    assert sticky["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    outside = stored(SERVICES, spec={"type": "ExternalName", "externalName": "a.example"})["spec"]
    assert outside == {"type": "ExternalName", "externalName": "a.example", "sessionAffinity": "None"}


def test_storage_kinds() -> None:
    claim = stored(PERSISTENTVOLUMECLAIMS, spec={})
    assert claim["status"] == {"phase": "Pending"}
    assert claim["spec"]["volumeMode"] == "Filesystem"
    volume = stored(PERSISTENTVOLUMES, spec={"capacity": {"storage": "1024Mi"}, "hostPath": {"path": "/d"}})
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["capacity"] == {"storage": "1Gi"}
    assert volume["status"]["phase"] == "Pending"
    cls = stored(STORAGECLASSES, provisioner="p.example")
    assert (cls["reclaimPolicy"], cls["volumeBindingMode"]) == ("Delete", "Immediate")


def test_secret_text_joins_its_data() -> None:
    found = stored(SECRETS, data={"a": "MQ=="}, stringData={"b": "two", "a": "over"})
    assert found == {"metadata": {"name": "x"}, "data": {"a": "b3Zlcg==", "b": "dHdv"}, "type": "Opaque"}


def test_namespace_carries_its_name_and_finalizer() -> None:
    found = stored(NAMESPACES)
    assert found["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
    assert (found["spec"], found["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})


def test_small_kinds() -> None:
    assert stored(LEASES)["spec"] == {}
    assert stored(ROLES)["rules"] is None
    binding = stored(CLUSTERROLEBINDINGS, roleRef={"kind": "ClusterRole", "name": "v"}, subjects=[{"kind": "User", "name": "u"}])
    assert binding["roleRef"]["apiGroup"] == binding["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    ports = stored(ENDPOINTSLICES, addressType="IPv4", endpoints=[{"addresses": ["192.0.2.5"]}], ports=[{"port": 80}])
    assert ports["ports"] == [{"port": 80, "name": "", "protocol": "TCP"}]
    assert ports["endpoints"] == [{"addresses": ["192.0.2.5"], "conditions": {}}]
    event = stored(EVENTS, involvedObject={"name": "p"})
    assert event["source"] == {}
    assert event["eventTime"] is None
    node = stored(NODES, spec={"podCIDR": "192.0.2.0/24"})
    assert node["spec"]["podCIDRs"] == ["192.0.2.0/24"]
    assert node["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1000m", "1"),
        ("0.1", "100m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("100000k", "100M"),
        ("1e3", "1e3"),
        ("0", "0"),
        ("-1Gi", "-1Gi"),
        (2, "2"),
        ("512", "512"),
        ("1Ei", "1Ei"),
        ("1E", "1E"),
        ("nonsense", "nonsense"),
    ],
)
def test_canonical_quantities(given: Any, expected: str) -> None:
    assert canonical(given) == expected


@draw(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "n"]))
def test_canonical_form_keeps_the_amount_and_is_final(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    once = canonical(text)
    assert quantity.parse(once) == quantity.parse(text)
    assert canonical(once) == once
