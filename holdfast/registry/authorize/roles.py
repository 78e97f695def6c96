"""The ClusterRoles and bindings that every cluster begins with, as data. ``registry.bootstrap`` writes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from holdfast.kinds.kind import Kind, Obj

_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AUTOUPDATE = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_GROUP = "rbac.authorization.k8s.io"
_READ = "get list watch"
_ALL = f"{_READ} create update patch delete deletecollection"
_EVENTS = ("core,events.k8s.io", "events", "create update patch")
_LEASES = ("coordination.k8s.io", "leases", "get list watch create update patch delete")

_Rule = tuple[str, str, str]
"""(groups, resources, verbs), each separated by commas or blanks; group "core" is ""."""


def _rule(rule: _Rule) -> Obj:
    groups, resources, verbs = (part.replace(",", " ").split() for part in rule)
    return {"apiGroups": ["" if g == "core" else g for g in groups], "resources": resources, "verbs": verbs}


_CHANGE = "create delete deletecollection patch update"
_BESIDES: dict[str, tuple[_Rule, ...]] = {
    "view": (("core", "pods/log", _READ),),
    "edit": (
        ("core", "pods/attach pods/exec pods/portforward pods/proxy services/proxy", f"{_CHANGE} {_READ}"),
        ("core", "serviceaccounts", "impersonate"),
        ("core", "pods/eviction serviceaccounts/token", "create"),
        ("apps", "deployments/rollback", _CHANGE),
    ),
    "admin": (("authorization.k8s.io", "localsubjectaccessreviews", "create"),),
}
"""What the roles for people hold besides the kinds that name them."""


def _held(kinds: Iterable[Kind], role: str) -> Iterator[_Rule]:
    """Rules of a role for people, out of the kinds' own words. Status is read only, scale goes with the object."""
    read: dict[str, set[str]] = {}
    changed: dict[str, set[str]] = {}
    for kind in kinds:
        group, plural = kind.resource.group or "core", kind.resource.plural
        halves = {f"{plural}/{name}" for name in ("status", "scale") if name in kind.subresources}
        if kind.read_by == role:
            read.setdefault(group, set()).update({plural, *halves})
        if kind.changed_by == role:
            changed.setdefault(group, set()).update({plural, *halves} - {f"{plural}/status"})
    for resources, verbs in ((read, _READ), (changed, _CHANGE)):
        yield from ((group, " ".join(sorted(names)), verbs) for group, names in sorted(resources.items()))


_SYSTEM: dict[str, tuple[_Rule, ...]] = {
    "system:auth-delegator": (
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    ),
    "system:basic-user": (
        ("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
        ("authentication.k8s.io", "selfsubjectreviews", "create"),
    ),
    "system:kube-aggregator": (("core", "endpoints services", _READ),),
    "system:kube-dns": (("core", "endpoints services", "list watch"), ("discovery.k8s.io", "endpointslices", "list watch")),
    "system:kubelet-api-admin": (
        ("core", "nodes", "get list watch proxy"),
        ("core", "nodes/log nodes/metrics nodes/proxy nodes/stats", "*"),
    ),
    "system:node-problem-detector": (
        ("core", "nodes", "get"),
        ("core", "nodes/status", "patch"),
        ("core,events.k8s.io", "events", "create patch update"),
    ),
    "system:node-proxier": (
        ("core", "endpoints services", "list watch"),
        ("core", "nodes", _READ),
        ("core,events.k8s.io", "events", "create patch update"),
        ("discovery.k8s.io", "endpointslices", "list watch"),
    ),
    "system:persistent-volume-provisioner": (
        ("core", "persistentvolumes", "create delete get list watch"),
        ("core", "persistentvolumeclaims", "get list update watch"),
        ("storage.k8s.io", "storageclasses", _READ),
        ("core", "events", _READ),
        ("core,events.k8s.io", "events", "create patch update"),
    ),
    "system:volume-scheduler": (
        ("core", "persistentvolumes", "get list patch update watch"),
        ("storage.k8s.io", "storageclasses", _READ),
        ("core", "persistentvolumeclaims", "get list patch update watch"),
    ),
}
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
    "replicaset-controller": (
        ("apps", "replicasets", "get list watch update"),
        ("apps", "replicasets/status replicasets/finalizers", "update"),
        ("core", "pods", "get list watch create patch delete"),
    ),
    "replication-controller": (
        ("core", "replicationcontrollers", "get list watch update"),
        ("core", "replicationcontrollers/status replicationcontrollers/finalizers", "update"),
        ("core", "pods", "get list watch create patch delete"),
    ),
    "deployment-controller": (
        ("apps", "deployments", "get list watch update"),
        ("apps", "deployments/status deployments/finalizers", "update"),
        ("apps", "replicasets", "get list watch create update patch delete"),
        ("core", "pods", "get list watch update"),
    ),
    "job-controller": (
        ("batch", "jobs", "get list watch update patch"),
        ("batch", "jobs/status jobs/finalizers", "update"),
        ("core", "pods", "get list watch create patch delete"),
    ),
    "ttl-after-finished-controller": (("batch", "jobs", "get list watch delete"),),
    "disruption-controller": (
        ("apps", "deployments replicasets statefulsets", _READ),
        ("core", "replicationcontrollers pods", _READ),
        ("policy", "poddisruptionbudgets", _READ),
        ("policy", "poddisruptionbudgets/status", "update"),
        ("core", "pods/status", "patch update"),
        ("*", "*/scale", "get"),
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
    "clusterrole-aggregation-controller": ((_GROUP, "clusterroles", "escalate get list patch update watch"),),
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
    "persistent-volume-provisioner": (
        ("core", "persistentvolumes", "get list watch create update patch delete"),
        ("core", "persistentvolumes/status persistentvolumeclaims/status", "get update patch"),
        ("core", "persistentvolumeclaims", "get list watch update patch"),
        ("core", "secrets", "get"),
        ("storage.k8s.io", "storageclasses", _READ),
    ),
    "ephemeral-volume-controller": (
        ("core", "pods", _READ),
        ("core", "pods/finalizers", "update"),
        ("core", "persistentvolumeclaims", "get list watch create"),
    ),
    "pvc-protection-controller": (
        ("core", "persistentvolumeclaims", "get list watch update patch"),
        ("core", "pods", _READ),
    ),
    "pv-protection-controller": (("core", "persistentvolumes", "get list watch update patch"),),
    "volumeattributesclass-protection-controller": (
        ("core", "persistentvolumeclaims persistentvolumes", "get list watch"),
        ("storage.k8s.io", "volumeattributesclasses", "get list watch patch update"),
    ),
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
_MONITORING = ("/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*")
_ISSUER = (
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
)
_PUBLIC = ("/healthz", "/livez", "/readyz", "/version", "/version/")


def _role(name: str, rules: list[Obj], labels: dict[str, str] | None = None) -> Obj:
    return {"metadata": {"name": name, "labels": _LABELS | (labels or {}), "annotations": dict(_AUTOUPDATE)}, "rules": rules}


NODE_RULES = [_rule(rule) for rule in _NODE]


def _urls(*paths: str) -> Obj:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}


def _aggregate(name: str, rules: Iterable[_Rule], into: str) -> Iterator[Obj]:
    """A role for people: its own rules in a part, gathered by label with whatever add-ons bring."""
    label = "rbac.authorization.k8s.io/aggregate-to-"
    yield _role(f"system:aggregate-to-{name}", [_rule(r) for r in rules], {f"{label}{name}": "true"})
    found = _role(name, [], {f"{label}{into}": "true"} if into else None)
    yield found | {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {f"{label}{name}": "true"}}]}}


def roles(kinds: Collection[Kind]) -> Iterator[Obj]:
    yield _role("cluster-admin", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}])
    for name, into in (("admin", ""), ("edit", "admin"), ("view", "edit")):
        yield from _aggregate(name, (*_held(kinds, name), *_BESIDES[name]), into)
    yield _role("system:discovery", [_urls(*_DISCOVERY)])
    yield _role("system:public-info-viewer", [_urls(*_PUBLIC)])
    yield _role("system:monitoring", [_urls(*_MONITORING)])
    yield _role("system:service-account-issuer-discovery", [_urls(*_ISSUER), _urls("/.well-known", "/.well-known/*")])
    for name, rules in _SYSTEM.items():
        yield _role(name, [_rule(r) for r in rules])
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


WITHDRAWN = {"system:node": [_group("system:nodes")]}
"""Subjects that earlier versions bound, by binding: agents are judged one by one since (``authorize.node``)."""


def bindings() -> Iterator[Obj]:
    yield _binding("cluster-admin", "cluster-admin", _group("system:masters"))
    yield _binding("system:discovery", "system:discovery", _group("system:authenticated"))
    yield _binding("system:basic-user", "system:basic-user", _group("system:authenticated"))
    public = (_group("system:authenticated"), _group("system:unauthenticated"))
    yield _binding("system:public-info-viewer", "system:public-info-viewer", *public)
    issuer = "system:service-account-issuer-discovery"
    yield _binding(issuer, issuer, _group("system:serviceaccounts"))
    yield _binding("system:kube-dns", "system:kube-dns", _account("kube-dns"))
    yield _binding("system:node-proxier", "system:node-proxier", _user("system:kube-proxy"))
    yield _binding("system:monitoring", "system:monitoring", _group("system:monitoring"))
    yield _binding("system:node", "system:node")
    scheduler = (_user("system:kube-scheduler"), _account("system:kube-scheduler"), _account("kube-scheduler"))
    yield _binding("system:kube-scheduler", "system:kube-scheduler", *scheduler)
    yield _binding("system:kube-controller-manager", "system:kube-controller-manager", _user("system:kube-controller-manager"))
    for name in _CONTROLLERS:
        yield _binding(f"system:controller:{name}", f"system:controller:{name}", _account(name))
