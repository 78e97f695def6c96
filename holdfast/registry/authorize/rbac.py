"""RBAC over the roles and bindings in the cache. Deny by default; decisions are kept until a rule changes.

``system:masters`` may do everything. A ClusterRole with an aggregationRule also has the rules of the
roles that it selects, found at evaluation, so nothing has to be copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from holdfast.machinery import selectors
from holdfast.machinery.errors import ApiError
from holdfast.registry.cache import CacheEvent, WatchCache
from holdfast.registry.request import Request, User

Rule = dict[str, Any]
_KINDS = tuple(f"/registry/{plural}/" for plural in ("roles", "rolebindings", "clusterroles", "clusterrolebindings"))
KEPT = 10_000


def _matches(wanted: str, allowed: Iterable[str]) -> bool:
    return any(entry in ("*", wanted) for entry in allowed)


def _resource_matches(plural: str, subresource: str, allowed: Iterable[str]) -> bool:
    full = f"{plural}/{subresource}" if subresource else plural
    return any(entry in ("*", full) or (subresource and entry == f"*/{subresource}") for entry in allowed)


class Rbac:
    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._decisions: dict[tuple[Any, ...], bool] = {}
        cache.on_event(self._forget)

    def _forget(self, event: CacheEvent) -> None:
        if event.key.startswith(_KINDS):
            self._decisions.clear()

    def authorize(self, request: Request) -> None:
        """Raises ApiError 403 with upstream's text."""
        resource = request.kind.resource
        verb = "list" if request.verb == "list" else request.verb
        if self.allowed(request.user, verb, resource.group, resource.plural, request.subresource, request.namespace, request.name):
            return
        plural = f"{resource.plural}/{request.subresource}" if request.subresource else resource.plural
        scope = f'in the namespace "{request.namespace}"' if request.namespace else "at the cluster scope"
        qualified = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        subject = f'{qualified} "{request.name}"' if request.name else qualified
        text = f'User "{request.user.name}" cannot {verb} resource "{plural}" in API group "{resource.group}" {scope}'
        details = {k: v for k, v in {"name": request.name, "group": resource.group, "kind": resource.plural}.items() if v}
        raise ApiError(403, "Forbidden", f"{subject} is forbidden: {text}", details)

    def authorize_path(self, user: User, verb: str, path: str) -> None:
        if not self.allowed_path(user, verb, path):
            text = f'forbidden: User "{user.name}" cannot {verb} path "{path}"'
            raise ApiError(403, "Forbidden", text, {})

    def allowed(self, user: User, verb: str, group: str, plural: str, subresource: str, namespace: str, name: str) -> bool:
        if "system:masters" in user.groups:
            return True
        asked = (user.name, user.groups, verb, group, plural, subresource, namespace, name)
        found = self._decisions.get(asked)
        if found is None:
            found = any(
                _matches(verb, rule.get("verbs") or ())
                and _matches(group, rule.get("apiGroups") or ())
                and _resource_matches(plural, subresource, rule.get("resources") or ())
                and (not rule.get("resourceNames") or name in rule["resourceNames"])
                for rule in self.rules(user, namespace)
            )
            if len(self._decisions) > KEPT:
                self._decisions.clear()
            self._decisions[asked] = found
        return found

    def allowed_path(self, user: User, verb: str, path: str) -> bool:
        if "system:masters" in user.groups:
            return True
        return any(
            _matches(verb, rule.get("verbs") or ()) and any(_path_matches(path, p) for p in rule.get("nonResourceURLs") or ())
            for rule in self.rules(user, "")
        )

    def rules(self, user: User, namespace: str) -> Iterator[Rule]:
        """Every rule that applies to a user in a namespace ("" = cluster-wide rules only)."""
        for item in self._cache.list("/registry/clusterrolebindings/"):
            if _binds(item.obj, user, ""):
                yield from self._role_rules(item.obj["roleRef"], "")
        if namespace:
            for item in self._cache.list(f"/registry/rolebindings/{namespace}/"):
                if _binds(item.obj, user, namespace):
                    yield from self._role_rules(item.obj["roleRef"], namespace)

    def _role_rules(self, reference: dict[str, str], namespace: str) -> Iterator[Rule]:
        if reference["kind"] == "Role":
            found = self._cache.get(f"/registry/roles/{namespace}/{reference['name']}")
        else:
            found = self._cache.get(f"/registry/clusterroles/{reference['name']}")
        if found is None:
            return
        yield from found.obj.get("rules") or ()
        for selector in (found.obj.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
            wanted = selectors.from_object(selector)
            for item in self._cache.list("/registry/clusterroles/"):
                if wanted.matches(item.obj["metadata"].get("labels") or {}):
                    yield from item.obj.get("rules") or ()


def _path_matches(path: str, pattern: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _binds(binding: dict[str, Any], user: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User" and name == user.name:
            return True
        if kind == "Group" and name in user.groups:
            return True
        if kind == "ServiceAccount" and user.name == f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}":
            return True
    return False
