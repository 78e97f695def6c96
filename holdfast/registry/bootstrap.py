"""What is there before anyone asks: namespaces, the API's own Service, roles, the default class.

Idempotent: what exists is left as it is, so an administrator's edits survive a restart.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES, SERVICES, STORAGECLASSES
from holdfast.machinery.errors import ApiError
from holdfast.registry.request import User

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry

MASTER = User("system:apiserver", ("system:masters", "system:authenticated"))
PROVISIONER = "builtin.holdfast.io"
_RBAC = "rbac.authorization.k8s.io"
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_NAMESPACED = [
    "configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/attach", "pods/exec", "pods/log", "pods/portforward",
    "pods/eviction", "pods/status", "serviceaccounts", "serviceaccounts/token", "services", "services/status",
]  # fmt: skip


def rule(groups: list[str], resources: list[str], verbs: list[str]) -> Obj:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


_EVENTS = rule(["", "events.k8s.io"], ["events"], ["create", "patch", "update"])
_ROLES: dict[str, list[Obj]] = {
    "cluster-admin": [rule(["*"], ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}],
    "admin": [
        rule([""], [*_NAMESPACED, "secrets"], READ + WRITE),
        rule(["apps"], ["statefulsets", "statefulsets/scale", "statefulsets/status", "controllerrevisions"], READ + WRITE),
        rule(["discovery.k8s.io"], ["endpointslices"], READ),
        rule([_RBAC], ["roles", "rolebindings"], READ + WRITE),
    ],
    "edit": [
        rule([""], [*_NAMESPACED, "secrets"], READ + WRITE),
        rule(["apps"], ["statefulsets", "statefulsets/scale", "controllerrevisions"], READ + WRITE),
        rule(["discovery.k8s.io"], ["endpointslices"], READ),
    ],
    "view": [
        rule([""], [r for r in _NAMESPACED if "/" not in r or r in ("pods/log", "pods/status")] + ["namespaces"], READ),
        rule(["apps"], ["statefulsets", "statefulsets/scale", "controllerrevisions"], READ),
        rule(["discovery.k8s.io"], ["endpointslices"], READ),
    ],
    "system:discovery": [
        {
            "nonResourceURLs": [
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ],
            "verbs": ["get"],
        }
    ],
    "system:basic-user": [
        rule(["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
        rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
    ],
    "system:public-info-viewer": [{"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]}],
    "system:service-account-issuer-discovery": [
        {"nonResourceURLs": ["/.well-known/openid-configuration", "/openid/v1/jwks"], "verbs": ["get"]}
    ],
    "system:node": [
        rule([""], ["nodes", "nodes/status"], ["create", "delete", "patch", "update", *READ]),
        rule([""], ["pods"], ["create", "delete", *READ]),
        rule([""], ["pods/status"], ["patch", "update", "get"]),
        rule([""], ["configmaps", "secrets", "services", "endpoints", "serviceaccounts", "namespaces"], READ),
        rule([""], ["serviceaccounts/token"], ["create"]),
        rule(
            [""],
            ["persistentvolumes", "persistentvolumeclaims", "persistentvolumeclaims/status", "persistentvolumes/status"],
            READ + WRITE,
        ),
        rule(["storage.k8s.io"], ["storageclasses"], READ),
        rule(["discovery.k8s.io"], ["endpointslices"], READ),
        rule(["coordination.k8s.io"], ["leases"], ["create", "delete", "patch", "update", *READ]),
        rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
        rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
        _EVENTS,
    ],
}
_EVERYTHING = rule(["*"], ["*"], READ)
_CONTROLLERS: dict[str, list[Obj]] = {
    "statefulset-controller": [
        rule(["apps"], ["statefulsets", "statefulsets/status", "statefulsets/finalizers", "controllerrevisions"], READ + WRITE),
        rule([""], ["pods", "pods/status", "persistentvolumeclaims"], READ + WRITE),
    ],
    "endpoint-controller": [rule([""], ["endpoints", "pods", "services"], READ + WRITE)],
    "endpointslice-controller": [
        rule([""], ["pods", "services", "nodes"], READ),
        rule(["discovery.k8s.io"], ["endpointslices"], READ + WRITE),
    ],
    "generic-garbage-collector": [rule(["*"], ["*"], [*READ, "delete", "patch", "update"])],
    "namespace-controller": [
        rule(["*"], ["*"], [*READ, "delete", "deletecollection"]),
        rule([""], ["namespaces", "namespaces/finalize", "namespaces/status"], READ + WRITE),
    ],
    "service-account-controller": [rule([""], ["serviceaccounts", "namespaces"], READ + WRITE)],
    "root-ca-cert-publisher": [rule([""], ["configmaps", "namespaces"], READ + WRITE)],
    "persistent-volume-binder": [
        rule([""], ["persistentvolumes", "persistentvolumes/status"], READ + WRITE),
        rule([""], ["persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "nodes"], READ + WRITE),
        rule(["storage.k8s.io"], ["storageclasses"], READ),
    ],
    "pvc-protection-controller": [rule([""], ["persistentvolumeclaims", "pods"], [*READ, "update", "patch"])],
    "pv-protection-controller": [rule([""], ["persistentvolumes", "persistentvolumeclaims"], [*READ, "update", "patch"])],
    "node-lifecycle-controller": [
        rule([""], ["nodes", "nodes/status", "pods", "pods/status"], READ + WRITE),
        rule(["coordination.k8s.io"], ["leases"], READ),
    ],
    "pod-garbage-collector": [rule([""], ["pods", "pods/status", "nodes"], READ + WRITE)],
}
_USERS: dict[str, list[Obj]] = {
    "system:kube-scheduler": [
        rule([""], ["pods", "pods/status", "pods/binding", "persistentvolumeclaims"], [*READ, "create", "delete", "patch", "update"]),
        rule([""], ["nodes", "persistentvolumes", "namespaces", "services"], READ),
        rule(["storage.k8s.io"], ["storageclasses"], READ),
        _EVENTS,
    ],
    "system:kube-controller-manager": [_EVERYTHING, _EVENTS],
}


def _meta(name: str) -> Obj:
    return {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}


def _role(name: str, rules: list[Obj]) -> Obj:
    return {"metadata": _meta(name), "rules": rules}


def _binding(name: str, role: str, *subjects: Obj) -> Obj:
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}
    return {"metadata": _meta(name), "roleRef": reference, "subjects": list(subjects)}


def _group(name: str) -> Obj:
    return {"apiGroup": _RBAC, "kind": "Group", "name": name}


def objects(service_cidr: str) -> list[tuple[Resource, Obj]]:
    """All of it, in the order in which it has to be created."""
    everyone = _group("system:authenticated")
    out: list[tuple[Resource, Obj]] = [(CLUSTERROLES, _role(name, rules)) for name, rules in (_ROLES | _USERS).items()]
    out += [(CLUSTERROLES, _role(f"system:controller:{name}", [*rules, _EVENTS])) for name, rules in _CONTROLLERS.items()]
    bindings = [
        _binding("cluster-admin", "cluster-admin", _group("system:masters")),
        _binding("system:discovery", "system:discovery", everyone),
        _binding("system:basic-user", "system:basic-user", everyone),
        _binding("system:public-info-viewer", "system:public-info-viewer", everyone, _group("system:unauthenticated")),
        _binding(
            "system:service-account-issuer-discovery", "system:service-account-issuer-discovery", _group("system:serviceaccounts")
        ),
        _binding("system:node", "system:node", _group("system:nodes")),
        *(_binding(name, name, {"apiGroup": _RBAC, "kind": "User", "name": name}) for name in _USERS),
        *(
            _binding(
                f"system:controller:{name}",
                f"system:controller:{name}",
                {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"},
            )
            for name in _CONTROLLERS
        ),
    ]
    out += [(CLUSTERROLEBINDINGS, binding) for binding in bindings]
    out += [(NAMESPACES, {"metadata": {"name": n}}) for n in ("default", "kube-system", "kube-public", "kube-node-lease")]
    out.append((STORAGECLASSES, _storage_class()))
    first = str(ipaddress.ip_network(service_cidr)[1])
    service = {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": first, "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
    }
    out.append((SERVICES, service))
    return out


def _storage_class() -> dict[str, Any]:
    return {
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


async def bootstrap(registry: Registry) -> None:
    """Creates what is missing."""
    client = registry.client(MASTER)
    for resource, obj in objects(str(registry.addresses.network)):
        namespace = obj["metadata"].get("namespace", "")
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        try:
            await client.create(resource, body, namespace)
        except ApiError as error:
            taken = resource is SERVICES and error.code == 422  # its address is held by itself already
            if error.reason != "AlreadyExists" and not taken:
                raise
