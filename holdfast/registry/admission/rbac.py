"""Nobody grants what he does not have: roles and bindings are held against the rights of who writes them (SEC-28).

A role may be written by whom all its rules cover, or who may ``escalate`` it; a binding likewise, or by whom may
``bind`` the role. Rules are broken into single rights (one verb, one resource, one name) and each must be
covered by a rule that the writer holds there.
"""

from __future__ import annotations

from holdfast.kinds.kind import Obj
from holdfast.kinds.rbac.aggregation import rules_of
from holdfast.machinery import errors, meta
from holdfast.machinery.errors import ApiError
from holdfast.registry.authorize import MASTERS, Attributes
from holdfast.registry.authorize.rbac import covers, rights
from holdfast.registry.write import Write

GROUP = "rbac.authorization.k8s.io"
_EVERYTHING: tuple[Obj, ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)
_FORMAT = (
    ("APIGroups", "apiGroups"),
    ("Resources", "resources"),
    ("NonResourceURLs", "nonResourceURLs"),
    ("ResourceNames", "resourceNames"),
    ("Verbs", "verbs"),
)


async def no_escalation(write: Write) -> None:
    resource = write.kind.resource
    if resource.group != GROUP or MASTERS in write.request.user.groups:
        return
    if resource.plural in ("roles", "clusterroles"):
        _check_role(write)
    elif resource.plural in ("rolebindings", "clusterrolebindings"):
        _check_binding(write)


def _check_role(write: Write) -> None:
    new, old = write.new, write.old or {}
    if write.old is not None and all(new.get(part) == old.get(part) for part in ("rules", "aggregationRule")):
        return
    if _may(write, "escalate", write.kind.resource.plural, write.request.name):
        return
    granted: list[Obj] = list(new.get("rules") or [])
    if new.get("aggregationRule"):
        granted += _EVERYTHING  # it gathers whatever others will write
    _confirm(write, granted)


def _check_binding(write: Write) -> None:
    new, old = write.new, write.old or {}
    if write.old is not None and all(new.get(part) == old.get(part) for part in ("subjects", "roleRef")):
        return
    reference = new["roleRef"]
    plural = "clusterroles" if reference["kind"] == "ClusterRole" else "roles"
    if not _may(write, "bind", plural, reference["name"]):
        _confirm(write, _rules(write, plural, reference["name"]))


def _may(write: Write, verb: str, plural: str, name: str) -> bool:
    asked = Attributes(verb, GROUP, plural, namespace=write.request.namespace, name=name)
    return write.core.authorizer.decide(write.request.user, asked).allowed


def _rules(write: Write, plural: str, name: str) -> list[Obj]:
    if plural == "roles":
        found = write.cache.get(f"/registry/roles/{write.request.namespace}/{name}")
    else:
        found = write.cache.get(f"/registry/clusterroles/{name}")
    if found is None:
        raise errors.not_found(write.kind.resource.plural, name, GROUP)
    if not found.obj.get("aggregationRule"):
        return list(found.obj.get("rules") or [])
    return rules_of(found.obj, {meta.name(item.obj): item.obj for item in write.cache.list("/registry/clusterroles/")})


def _confirm(write: Write, granted: list[Obj]) -> None:
    held = write.core.rbac.rules(write.request.user, write.request.namespace)
    missing = [right for rule in granted for right in rights(rule) if not any(covers(own, right) for own in held)]
    if missing:
        raise _refused(write, missing)


def _refused(write: Write, missing: list[Obj]) -> ApiError:
    user = write.request.user
    merged: dict[str, Obj] = {}
    for right in missing:
        key = str({part: value for part, value in right.items() if part != "verbs"})
        known = merged.setdefault(key, {**right, "verbs": []})
        known["verbs"] += [verb for verb in right["verbs"] if verb not in known["verbs"]]
    who = f'user "{user.name}" (groups={_list(list(user.groups))})'
    lines = "\n".join(sorted(map(_compact, merged.values())))
    why = f"{who} is attempting to grant RBAC permissions not currently held:\n{lines}"
    return errors.forbidden(write.kind.resource.plural, meta.name(write.new), why, GROUP)


def _compact(rule: Obj) -> str:
    return "{" + ", ".join(f"{shown}:{_list(rule[part])}" for shown, part in _FORMAT if rule.get(part)) + "}"


def _list(values: list[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
