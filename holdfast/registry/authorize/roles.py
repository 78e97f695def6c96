"""The ClusterRoles and bindings that every cluster begins with, as data. ``registry.bootstrap`` writes them."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.kinds.kind import Obj

_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AUTOUPDATE = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_GROUP = "rbac.authorization.k8s.io"
_READ = "get list watch"
_WRITE = "create update patch delete deletecollection"
_ALL = f"{_READ} {_WRITE}"
_EVENTS = ("core,events.k8s.io", "events", "create update patch")
_LEASES = ("coordination.k8s.io", "leases", "get list watch create update patch delete")

_Rule = tuple[str, str, str]
"""(groups, resources, verbs), each separated by commas or blanks; group "core" is ""."""


def _rule(rule: _Rule) -> Obj:
    groups, resources, verbs = (part.replace(",", " ").split() for part in rule)
    return {"apiGroups": ["" if g == "core" else g for g in groups], "resources": resources, "verbs": verbs}


_NAMESPACED = (
    "configmaps endpoints persistentvolumeclaims pods pods/log pods/status services services/status events replicationcontrollers"
    " serviceaccounts resourcequotas limitranges"
)
_EDITED = (
    "configmaps endpoints persistentvolumeclaims pods pods/attach pods/exec pods/portforward pods/proxy services services/proxy"
    " events serviceaccounts replicationcontrollers"
)
_APPS = (
    "controllerrevisions daemonsets deployments replicasets statefulsets statefulsets/scale statefulsets/status deployments/scale"
    " deployments/status replicasets/scale replicasets/status daemonsets/status"
)
_VIEW: tuple[_Rule, ...] = (
    ("core", _NAMESPACED + " namespaces", _READ),
    ("apps", _APPS, _READ),
    ("discovery.k8s.io", "endpointslices", _READ),
    ("batch,autoscaling,policy,networking.k8s.io", "*", _READ),
    ("events.k8s.io", "events", _READ),
)
_EDIT: tuple[_Rule, ...] = (
    ("core", _EDITED + " secrets", _ALL),
    ("core", "pods/eviction pods/exec pods/attach pods/portforward serviceaccounts/token", "create get"),
    ("core", "serviceaccounts", "impersonate"),
    ("apps", _APPS, _ALL),
    ("batch,autoscaling,policy,networking.k8s.io", "*", _ALL),
    ("coordination.k8s.io", "leases", _ALL),
)
_ADMIN: tuple[_Rule, ...] = (
    (_GROUP, "roles rolebindings", _ALL),
    ("authorization.k8s.io", "localsubjectaccessreviews", "create"),
)
_NODE: tuple[_Rule, ...] = (
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("authorization.k8s.io", "subjectaccessreviews localsubjectaccessreviews", "create"),
    ("core", "services endpoints", _READ),
    ("discovery.k8s.io", "endpointslices", _READ),
    ("storage.k8s.io", "storageclasses csidrivers", _READ),
    ("storage.k8s.io", "volumeattachments", "get"),
    ("node.k8s.io", "runtimeclasses", _READ),
    ("core,events.k8s.io", "events", "create update patch"),
)
"""What every node may do alike; what depends on the node is decided by ``authorize.node``."""

_CONTROLLERS: dict[str, tuple[_Rule, ...]] = {
    "statefulset-controller": (
        ("core", "pods", _ALL),
        ("core", "pods/status", "get patch update"),
        ("apps", "statefulsets", "get list watch update patch"),
        ("apps", "statefulsets/status statefulsets/finalizers", "get update patch"),
        ("apps", "controllerrevisions", _ALL),
        ("core", "persistentvolumeclaims", "get list watch create update patch delete"),
    ),
    "endpoint-controller": (
        ("core", "services pods nodes", _READ),
        ("core", "services", "update"),
        ("core", "endpoints endpoints/restricted", _ALL),
    ),
    "endpointslice-controller": (
        ("core", "services pods nodes", _READ),
        ("core", "services/finalizers services", "update"),
        ("discovery.k8s.io", "endpointslices endpointslices/restricted", _ALL),
    ),
    "generic-garbage-collector": (("*", "*", "get list watch patch update delete"),),
    "namespace-controller": (
        ("core", "namespaces", "get list watch update patch delete"),
        ("core", "namespaces/finalize namespaces/status", "get update patch"),
        ("*", "*", "get list watch delete deletecollection"),
    ),
    "service-account-controller": (
        ("core", "namespaces", _READ),
        ("core", "serviceaccounts", "get list watch create update patch"),
    ),
    "root-ca-cert-publisher": (
        ("core", "namespaces", _READ),
        ("core", "configmaps", "get list watch create update patch"),
    ),
    "persistent-volume-binder": (
        ("core", "persistentvolumes", "get list watch create update patch delete"),
        ("core", "persistentvolumes/status persistentvolumeclaims/status", "get update patch"),
        ("core", "persistentvolumeclaims", "get list watch update patch"),
        ("core", "pods", "get list watch create delete"),
        ("core", "nodes", _READ),
        ("storage.k8s.io", "storageclasses", _READ),
    ),
    "pvc-protection-controller": (
        ("core", "persistentvolumeclaims", "get list watch update patch"),
        ("core", "pods", _READ),
    ),
    "pv-protection-controller": (("core", "persistentvolumes", "get list watch update patch"),),
    "node-lifecycle-controller": (
        ("core", "nodes", "get list watch update patch delete"),
        ("core", "nodes/status pods/status", "get update patch"),
        ("core", "pods", "get list watch delete update patch"),
        ("core", "pods/eviction", "create"),
    ),
    "pod-garbage-collector": (
        ("core", "pods", "get list watch delete"),
        ("core", "pods/status", "get patch update"),
        ("core", "nodes", _READ),
    ),
}
_SCHEDULER: tuple[_Rule, ...] = (
    ("core", "nodes namespaces services", _READ),
    ("core", "pods", "get list watch delete update patch"),
    ("core", "pods/binding bindings", "create"),
    ("core", "pods/status", "get patch update"),
    ("core", "persistentvolumes persistentvolumeclaims", "get list watch update patch"),
    ("apps", "statefulsets replicasets controllerrevisions", _READ),
    ("storage.k8s.io", "storageclasses csinodes csidrivers csistoragecapacities volumeattachments", _READ),
)
_MANAGER: tuple[_Rule, ...] = (
    ("*", "*", _READ),
    ("core", "secrets serviceaccounts", "create get update"),
    ("core", "serviceaccounts/token", "create"),
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("authorization.k8s.io", "subjectaccessreviews", "create"),
)
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/")
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")


def _role(name: str, rules: list[Obj], labels: dict[str, str] | None = None) -> Obj:
    return {"metadata": {"name": name, "labels": _LABELS | (labels or {}), "annotations": dict(_AUTOUPDATE)}, "rules": rules}


NODE_RULES = [_rule(rule) for rule in _NODE]


def _urls(*paths: str) -> Obj:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}


def _aggregate(name: str, rules: tuple[_Rule, ...], into: str, roles: tuple[str, ...]) -> Iterator[Obj]:
    """A role for people: its own rules in a part, gathered by label with whatever add-ons bring."""
    label = "rbac.authorization.k8s.io/aggregate-to-"
    yield _role(f"system:aggregate-to-{name}", [_rule(r) for r in rules], {f"{label}{name}": "true"})
    selectors = [{"matchLabels": {f"{label}{part}": "true"}} for part in roles]
    found = _role(name, [], {f"{label}{into}": "true"} if into else None)
    yield found | {"aggregationRule": {"clusterRoleSelectors": selectors}}


def roles() -> Iterator[Obj]:
    yield _role("cluster-admin", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}])
    yield from _aggregate("admin", _ADMIN, "", ("admin", "edit", "view"))
    yield from _aggregate("edit", _EDIT, "admin", ("edit", "view"))
    yield from _aggregate("view", _VIEW, "edit", ("view",))
    yield _role("system:discovery", [_urls(*_DISCOVERY)])
    yield _role("system:public-info-viewer", [_urls(*_PUBLIC)])
    yield _role("system:monitoring", [_urls("/metrics", "/metrics/*", *_PUBLIC)])
    yield _role(
        "system:basic-user",
        [
            _rule(("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create")),
            _rule(("authentication.k8s.io", "selfsubjectreviews", "create")),
        ],
    )
    yield _role("system:node", NODE_RULES)
    yield _role("system:kube-controller-manager", [_rule(r) for r in (*_MANAGER, _EVENTS, _LEASES)])
    yield _role("system:kube-scheduler", [_rule(r) for r in (*_SCHEDULER, _EVENTS, _LEASES)])
    for name, rules in _CONTROLLERS.items():
        yield _role(f"system:controller:{name}", [_rule(r) for r in (*rules, _EVENTS, _LEASES)])


def _binding(name: str, role: str, *subjects: Obj) -> Obj:
    return {
        "metadata": {"name": name, "labels": dict(_LABELS), "annotations": dict(_AUTOUPDATE)},
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }


def _group(name: str) -> Obj:
    return {"apiGroup": _GROUP, "kind": "Group", "name": name}


def _user(name: str) -> Obj:
    return {"apiGroup": _GROUP, "kind": "User", "name": name}


def _account(name: str) -> Obj:
    return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}


def bindings() -> Iterator[Obj]:
    yield _binding("cluster-admin", "cluster-admin", _group("system:masters"))
    yield _binding("system:discovery", "system:discovery", _group("system:authenticated"))
    yield _binding("system:basic-user", "system:basic-user", _group("system:authenticated"))
    public = (_group("system:authenticated"), _group("system:unauthenticated"))
    yield _binding("system:public-info-viewer", "system:public-info-viewer", *public)
    yield _binding("system:monitoring", "system:monitoring", _group("system:monitoring"))
    yield _binding("system:node", "system:node")
    scheduler = (_user("system:kube-scheduler"), _account("system:kube-scheduler"), _account("kube-scheduler"))
    yield _binding("system:kube-scheduler", "system:kube-scheduler", *scheduler)
    yield _binding("system:kube-controller-manager", "system:kube-controller-manager", _user("system:kube-controller-manager"))
    for name in _CONTROLLERS:
        yield _binding(f"system:controller:{name}", f"system:controller:{name}", _account(name))
