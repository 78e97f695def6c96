"""RBAC over the watch cache: grants indexed by subject, decisions remembered until a role or binding changes.

The index is rebuilt when first needed after a change (changes are rare, questions are not). It fails
closed: a binding to a role that does not exist grants nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.kinds.rbac.aggregation import rules_of
from holdfast.registry.authorize import MASTERS, Attributes, Decision
from holdfast.registry.cache import CacheEvent, WatchCache
from holdfast.registry.request import User

REMEMBERED = 16384
_PREFIXES = ("/registry/roles/", "/registry/rolebindings/", "/registry/clusterroles/", "/registry/clusterrolebindings/")
_Subject = tuple[str, str]


@dataclass(frozen=True)
class Grant:
    """One binding seen from a subject. ``namespace`` "" = everywhere."""

    namespace: str
    rules: tuple[Obj, ...]
    reason: str
    missing: str = ""
    """The role it names and that is not there."""


class Rbac:
    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._grants: dict[_Subject, list[Grant]] = {}
        self._decisions: dict[tuple[Any, ...], Decision] = {}
        self._stale = True
        cache.on_event(self._seen)

    def _seen(self, event: CacheEvent | None) -> None:
        if event is None or event.key.startswith(_PREFIXES):
            self._stale = True

    def decide(self, user: User, attributes: Attributes) -> Decision:
        if MASTERS in user.groups:
            return Decision(True)
        self._refresh()
        if attributes.fields:
            attributes = attributes._replace(fields="")
        key = (user.name, user.groups, attributes)
        found = self._decisions.get(key)
        if found is None:
            if len(self._decisions) >= REMEMBERED:
                self._decisions.clear()
            found = self._decisions[key] = self._evaluate(user, attributes)
        return found

    def rules(self, user: User, namespace: str) -> list[Obj]:
        """Every rule that holds for ``user`` in ``namespace`` (SelfSubjectRulesReview)."""
        self._refresh()
        if MASTERS in user.groups:
            return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
        return [
            rule
            for grant in self._of(user)
            if grant.namespace in ("", namespace)
            for rule in grant.rules
            if not (grant.namespace and rule.get("nonResourceURLs"))
        ]

    def _evaluate(self, user: User, attributes: Attributes) -> Decision:
        for grant in self._of(user):
            if grant.namespace and (attributes.path or grant.namespace != attributes.namespace):
                continue
            if any(allows(rule, attributes) for rule in grant.rules):
                return Decision(True, grant.reason)
        missing = [grant.missing for grant in self._of(user) if grant.missing and grant.namespace in ("", attributes.namespace)]
        if not missing:
            return Decision(False)
        said = ", ".join(missing)
        return Decision(False, f"RBAC: {said if len(missing) == 1 else f'[{said}]'}")

    def _of(self, user: User) -> Iterator[Grant]:
        yield from self._grants.get(("User", user.name), ())
        for group in user.groups:
            yield from self._grants.get(("Group", group), ())

    def _refresh(self) -> None:
        if not self._stale:
            return
        self._decisions.clear()
        grants: dict[_Subject, list[Grant]] = defaultdict(list)
        cluster = {o["metadata"]["name"]: o for o in self._all("clusterroles")}
        rules = {name: tuple(rules_of(role, cluster)) for name, role in cluster.items()}
        local = {(o["metadata"]["namespace"], o["metadata"]["name"]): tuple(o.get("rules") or ()) for o in self._all("roles")}
        for binding in self._all("clusterrolebindings"):
            if binding["roleRef"].get("kind") == "ClusterRole":
                self._bind(grants, binding, rules.get(binding["roleRef"].get("name", "")))
        for binding in self._all("rolebindings"):
            reference = binding["roleRef"]
            if reference.get("kind") == "ClusterRole":
                self._bind(grants, binding, rules.get(reference.get("name", "")))
            elif reference.get("kind") == "Role":
                self._bind(grants, binding, local.get((binding["metadata"]["namespace"], reference.get("name", ""))))
        self._grants = dict(grants)
        self._stale = False

    def _all(self, storage: str) -> list[Obj]:
        return [item.obj for item in self._cache.list(f"/registry/{storage}/")]

    def _bind(self, grants: dict[_Subject, list[Grant]], binding: Obj, rules: tuple[Obj, ...] | None) -> None:
        metadata, role = binding["metadata"], binding["roleRef"]
        namespace = metadata.get("namespace", "")
        named = f'"{metadata["name"]}/{namespace}"' if namespace else f'"{metadata["name"]}"'
        for subject in binding.get("subjects") or []:
            key, shown = _subject(subject, namespace)
            reason = f'RBAC: allowed by {binding["kind"]} {named} of {role["kind"]} "{role["name"]}" to {subject["kind"]} "{shown}"'
            missing = f'{role["kind"].lower()}.rbac.authorization.k8s.io "{role["name"]}" not found' if rules is None else ""
            grants[key].append(Grant(namespace, rules or (), reason, missing))


def _subject(subject: Obj, namespace: str) -> tuple[_Subject, str]:
    kind, name = str(subject.get("kind")), str(subject.get("name"))
    if kind == "ServiceAccount":
        home = subject.get("namespace") or namespace
        return ("User", f"system:serviceaccount:{home}:{name}"), f"{name}/{home}"
    return (kind, name), name


def allows(rule: Obj, asked: Attributes) -> bool:
    if not _has(rule.get("verbs"), asked.verb):
        return False
    if asked.path:
        return any(_path(pattern, asked.path) for pattern in rule.get("nonResourceURLs") or ())
    if not _has(rule.get("apiGroups"), asked.group) or not _resource(rule.get("resources") or (), asked):
        return False
    names = rule.get("resourceNames") or ()
    return not names or asked.name in names


def _has(values: list[str] | None, wanted: str) -> bool:
    return values is not None and ("*" in values or wanted in values)


def _resource(resources: list[str] | tuple[str, ...], asked: Attributes) -> bool:
    if "*" in resources or asked.full_resource in resources:
        return True
    return bool(asked.subresource) and f"*/{asked.subresource}" in resources


def _path(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def rights(rule: Obj) -> Iterator[Obj]:
    """A rule as single rights."""
    verbs = rule.get("verbs") or []
    for url, verb in product(rule.get("nonResourceURLs") or [], verbs):
        yield {"nonResourceURLs": [url], "verbs": [verb]}
    names: list[list[str]] = [[name] for name in rule.get("resourceNames") or []] or [[]]
    for group, resource, name, verb in product(rule.get("apiGroups") or [], rule.get("resources") or [], names, verbs):
        yield {"apiGroups": [group], "resources": [resource], "resourceNames": name, "verbs": [verb]}


def covers(held: Obj, right: Obj) -> bool:
    """Whether a rule covers a single right: one verb on one resource (of one name) or one path."""
    if not _has(held.get("verbs"), right["verbs"][0]):
        return False
    if right.get("nonResourceURLs"):
        return any(_path(pattern, right["nonResourceURLs"][0]) for pattern in held.get("nonResourceURLs") or ())
    resource, _, subresource = right["resources"][0].partition("/")
    asked = Attributes("", resource=resource, subresource=subresource)
    if not _has(held.get("apiGroups"), right["apiGroups"][0]) or not _resource(held.get("resources") or (), asked):
        return False
    names = held.get("resourceNames")
    return not names or (bool(right["resourceNames"]) and right["resourceNames"][0] in names)
