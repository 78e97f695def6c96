"""The Node authorizer: an agent may touch what the pods bound to its node need, and nothing of other nodes.

The problem: every agent has an identity of its own, but a role cannot say "the secrets that my pods mount".
The idea: pods are indexed by the node they are bound to; a question about an object is answered by looking
whether one of those pods names it, at most through its claims. What a write may contain is decided later,
by ``admission.node``. An agent here is kubelet, proxy, nameserver and provisioner of its node in one, hence
the rights to read Services, their endpoints and claims. No match is no opinion: RBAC is asked next.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.kinds.core.claims import claims_of, pinned_to
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError
from holdfast.machinery.selectors import parse_field_selector
from holdfast.registry.authorize import Attributes, Decision, node_of
from holdfast.registry.authorize.rbac import allows
from holdfast.registry.authorize.roles import NODE_RULES
from holdfast.registry.cache import CacheEvent, WatchCache
from holdfast.registry.request import Stored, User

LEASES = "kube-node-lease"
MIRROR = "kubernetes.io/config.mirror"
_PODS = "/registry/pods/"
_READ_VERBS = ("get", "list", "watch")
_OWN_VERBS = ("get", "create", "update", "patch", "delete")
_REFERENCES = {
    "secret": "secrets",
    "secretRef": "secrets",
    "secretKeyRef": "secrets",
    "nodePublishSecretRef": "secrets",
    "configMap": "configmaps",
    "configMapRef": "configmaps",
    "configMapKeyRef": "configmaps",
}
_NO = Decision(False)
_YES = Decision(True)


class NodeAuthorizer:
    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._bound: dict[str, dict[str, Stored]] = {}
        self._needs: dict[str, tuple[int, frozenset[tuple[str, str]]]] = {}
        cache.on_event(self._seen)

    def _seen(self, event: CacheEvent | None) -> None:
        if event is None:
            self._bound.clear()
            self._needs.clear()
            for item in self._cache.list(_PODS):
                metadata = item.obj["metadata"]
                self._bind(f"{_PODS}{metadata['namespace']}/{metadata['name']}", item)
        elif event.key.startswith(_PODS):
            if event.old is not None:
                self._bound.get(_node(event.old.obj), {}).pop(event.key, None)
                self._needs.pop(event.key, None)
            if event.type != "delete":
                self._bind(event.key, event.new)

    def _bind(self, key: str, item: Stored) -> None:
        if node := _node(item.obj):
            self._bound.setdefault(node, {})[key] = item

    def decide(self, user: User, asked: Attributes) -> Decision:
        node = node_of(user)
        if node is None:
            return _NO
        if not node:
            return Decision(False, f'unknown node for user "{user.name}"')
        special = _SPECIAL.get((asked.group, asked.resource))
        if special is not None and not asked.path:
            return special(self, node, asked)
        return _YES if any(allows(rule, asked) for rule in NODE_RULES) else _NO

    # What each kind asks for.

    def _readable(self, node: str, asked: Attributes) -> Decision:
        """Secrets and ConfigMaps: single ones, that a pod of the node names."""
        if asked.verb not in _READ_VERBS:
            return Decision(False, "can only read resources of this type")
        if asked.subresource:
            return Decision(False, "cannot read subresource")
        if not asked.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, asked)

    def _account(self, node: str, asked: Attributes) -> Decision:
        if asked.verb != "create" or not asked.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if asked.subresource != "token":
            return Decision(False, "can only create token subresource of serviceaccount")
        return self._related(node, asked)

    def _claim(self, node: str, asked: Attributes) -> Decision:
        """All may be read: the agent provisions those that the scheduler gave to its node. Of those used here, or whose volume
        lies here, it says how their growth comes along."""
        if asked.subresource == "status" and asked.verb in ("update", "patch"):
            found = self._cache.get(f"/registry/persistentvolumeclaims/{asked.namespace}/{asked.name}")
            volume = ((found.obj.get("spec") or {}).get("volumeName") if found else None) or ""
            return _YES if volume and self._lies_here(node, volume) else self._related(node, asked)
        if asked.subresource:
            return Decision(False, "cannot get subresource")
        if asked.verb not in _READ_VERBS:
            return Decision(False, "can only read resources of this type")
        return _YES

    def _volume(self, node: str, asked: Attributes) -> Decision:
        """Writes: volumes that lie here, or that a pod here uses. Creating one: ``admission.node`` looks at its place."""
        if asked.subresource == "status" and asked.verb in ("update", "patch"):
            return _YES if self._lies_here(node, asked.name) else _unrelated(node)
        if asked.subresource:
            return Decision(False, "cannot get subresource")
        if asked.verb in (*_READ_VERBS, "create"):
            return _YES
        if asked.verb not in _OWN_VERBS or self._cache.get(f"/registry/persistentvolumes/{asked.name}") is None:
            return _NO
        if self._lies_here(node, asked.name):
            return _YES
        return _NO if asked.verb == "delete" else self._related(node, asked)

    def _lies_here(self, node: str, volume: str) -> bool:
        found = self._cache.get(f"/registry/persistentvolumes/{volume}")
        return found is not None and pinned_to(found.obj) == node

    def _lease(self, node: str, asked: Attributes) -> Decision:
        if asked.verb not in _OWN_VERBS:
            return Decision(False, "can only get, create, update, patch, or delete a node lease")
        if asked.namespace != LEASES:
            return Decision(False, f'can only access leases in the "{LEASES}" system namespace')
        if asked.verb != "create" and asked.name != node:
            return Decision(False, "can only access node lease with the same name as the requesting node")
        return _YES

    def _csi_node(self, node: str, asked: Attributes) -> Decision:
        if asked.verb not in _OWN_VERBS:
            return Decision(False, "can only get, create, update, patch, or delete a CSINode")
        if asked.subresource:
            return Decision(False, "cannot authorize CSINode subresources")
        if asked.verb != "create" and asked.name != node:
            return Decision(False, "can only access CSINode with the same name as the requesting node")
        return _YES

    def _node_object(self, node: str, asked: Attributes) -> Decision:
        if asked.subresource == "status":
            return Decision(asked.verb in ("update", "patch"))
        if asked.subresource:
            return _NO
        if asked.verb in ("create", "update", "patch"):
            return _YES
        if asked.verb not in _READ_VERBS:
            return _NO
        if asked.name == node:
            return _YES
        what = f"'{asked.name}'" if asked.name else "all nodes"
        return Decision(False, f"node '{node}' cannot read {what}, only its own Node object")

    def _pod(self, node: str, asked: Attributes) -> Decision:
        if asked.subresource:
            return Decision((asked.subresource, asked.verb) in (("status", "update"), ("status", "patch"), ("eviction", "create")))
        if asked.verb in ("create", "delete"):
            return _YES
        if asked.verb in ("list", "watch"):
            if ("spec.nodeName", "=", node) in _fields(asked.fields):
                return _YES
            if not asked.name:
                return Decision(False, "can only list/watch pods with spec.nodeName field selector")
        elif asked.verb != "get":
            return _NO
        key = f"{_PODS}{asked.namespace}/{asked.name}"
        # That a pod is gone must be provable to the agent that ran it: absence is no secret, the pods of others are.
        if key in self._bound.get(node, {}) or (asked.verb == "get" and self._cache.get(key) is None):
            return _YES
        return _unrelated(node)

    # The relation of objects to the node.

    def _related(self, node: str, asked: Attributes) -> Decision:
        if not asked.name:
            return Decision(False, "No Object name found")
        return _YES if self._reaches(node, asked) else _unrelated(node)

    def _reaches(self, node: str, asked: Attributes) -> bool:
        wanted = (asked.resource, asked.name)
        for key, item in self._bound.get(node, {}).items():
            if asked.namespace:
                if key.startswith(f"{_PODS}{asked.namespace}/") and wanted in self._named(key, item):
                    return True
            elif wanted in {("persistentvolumes", name) for name in self._volumes(key, item)}:
                return True
        return asked.resource == "secrets" and self._by_volume(node, asked)

    def _by_volume(self, node: str, asked: Attributes) -> bool:
        """Secrets with which a used volume is mounted."""
        for key, item in self._bound.get(node, {}).items():
            for name in self._volumes(key, item):
                volume = self._cache.get(f"/registry/persistentvolumes/{name}")
                if volume is not None and (asked.namespace, asked.name) in set(_secrets(volume.obj.get("spec"))):
                    return True
        return False

    def _named(self, key: str, item: Stored) -> frozenset[tuple[str, str]]:
        kept = self._needs.get(key)
        if kept is None or kept[0] != item.revision:
            kept = self._needs[key] = (item.revision, frozenset(_needed(item.obj)))
        return kept[1]

    def _volumes(self, key: str, item: Stored) -> Iterator[str]:
        namespace = meta.namespace(item.obj)
        for kind, name in self._named(key, item):
            if kind == "persistentvolumeclaims":
                claim = self._cache.get(f"/registry/persistentvolumeclaims/{namespace}/{name}")
                if claim is not None and (volume := (claim.obj.get("spec") or {}).get("volumeName")):
                    yield str(volume)


_SPECIAL = {
    ("", "secrets"): NodeAuthorizer._readable,
    ("", "configmaps"): NodeAuthorizer._readable,
    ("", "persistentvolumeclaims"): NodeAuthorizer._claim,
    ("", "persistentvolumes"): NodeAuthorizer._volume,
    ("", "serviceaccounts"): NodeAuthorizer._account,
    ("", "nodes"): NodeAuthorizer._node_object,
    ("", "pods"): NodeAuthorizer._pod,
    ("coordination.k8s.io", "leases"): NodeAuthorizer._lease,
    ("storage.k8s.io", "csinodes"): NodeAuthorizer._csi_node,
}


def _unrelated(node: str) -> Decision:
    return Decision(False, f"no relationship found between node '{node}' and this object")


def _node(pod: Obj) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _fields(selector: str) -> list[tuple[str, str, str]]:
    try:
        return parse_field_selector(selector)
    except ApiError:
        return []


def _needed(pod: Obj) -> Iterator[tuple[str, str]]:
    """(resource, name) of what a pod names in its namespace. A mirror pod is the node's own word and earns it nothing."""
    if MIRROR in meta.annotations_of(pod):
        return
    spec = pod.get("spec") or {}
    yield "serviceaccounts", str(spec.get("serviceAccountName") or "default")
    for entry in spec.get("imagePullSecrets") or []:
        yield "secrets", str(entry.get("name"))
    for claim in claims_of(pod).values():
        yield "persistentvolumeclaims", claim
    for volume in spec.get("volumes") or []:
        if name := (volume.get("azureFile") or {}).get("secretName"):
            yield "secrets", str(name)
    for part in ("volumes", "containers", "initContainers", "ephemeralContainers"):
        yield from referenced(spec.get(part))


def referenced(part: Any) -> Iterator[tuple[str, str]]:
    """Secrets and ConfigMaps that volumes or containers name."""
    if isinstance(part, list):
        for entry in part:
            yield from referenced(entry)
    elif isinstance(part, dict):
        for field, value in part.items():
            if field in _REFERENCES and isinstance(value, dict) and (name := value.get("secretName") or value.get("name")):
                yield _REFERENCES[field], str(name)
            elif isinstance(value, dict | list):
                yield from referenced(value)


def _secrets(part: Any) -> Iterator[tuple[str, str]]:
    """(namespace, name) of the secrets in a volume's source."""
    for field, value in (part or {}).items():
        if field.endswith("ecretRef") and isinstance(value, dict):
            yield str(value.get("namespace", "")), str(value.get("name"))
        elif isinstance(value, dict):
            yield from _secrets(value)
