"""Roles and bindings (rbac.authorization.k8s.io): defaults and rules of their parts."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import overlay
from holdfast.kinds.definitions.rules import fill, one_of
from holdfast.machinery.fielderror import FieldError, child, invalid, required

RBAC = "io.k8s.api.rbac.v1."
API_GROUP = "rbac.authorization.k8s.io"
SUBJECTS = ("ServiceAccount", "User", "Group")


def _role_ref_defaults(reference: dict[str, Any]) -> None:
    fill(reference, apiGroup=API_GROUP)


def _subject_defaults(subject: dict[str, Any]) -> None:
    if subject.get("kind") in ("User", "Group"):
        fill(subject, apiGroup=API_GROUP)


def _role_defaults(role: dict[str, Any]) -> None:
    # Upstream serves an absent list as null: `rules` is the one field of a role that is always there.
    role.setdefault("rules", None)


def _check_rule(rule: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = [] if rule.get("verbs") else [required(child(path, "verbs"), "verbs must contain at least one value")]
    if rule.get("nonResourceURLs"):
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            found.append(invalid(child(path, "nonResourceURLs"), rule["nonResourceURLs"], text))
        return found
    if not rule.get("apiGroups"):
        found.append(required(child(path, "apiGroups"), "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        found.append(required(child(path, "resources"), "resource rules must supply at least one resource"))
    return found


def _check_subject(subject: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = [] if subject.get("name") else [required(child(path, "name"))]
    kind, group = subject.get("kind") or "", subject.get("apiGroup") or ""
    if kind in ("User", "Group"):
        return found + one_of(child(path, "apiGroup"), group, (API_GROUP,))
    if kind != "ServiceAccount":
        return found + (one_of(child(path, "kind"), kind, SUBJECTS) or [required(child(path, "kind"))])
    return found + ([FieldError("FieldValueNotSupported", child(path, "apiGroup"), group, 'supported values: ""')] if group else [])


overlay(RBAC + "RoleRef", defaulter=_role_ref_defaults, optional=("kind", "name"))
overlay(RBAC + "Subject", defaulter=_subject_defaults, checks=(_check_subject,), optional=("kind", "name"))
overlay(RBAC + "PolicyRule", checks=(_check_rule,), optional=("verbs",))
overlay(RBAC + "Role", defaulter=_role_defaults)
overlay(RBAC + "ClusterRole", defaulter=_role_defaults)
