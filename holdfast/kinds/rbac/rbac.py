"""Role, ClusterRole and their bindings: who may do what. Evaluated by ``registry.authorize``."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, CREATED_AT, NAME, joined
from holdfast.kinds.definitions.access import API_GROUP, RBAC
from holdfast.kinds.definitions.rules import path_segment, unsupported
from holdfast.kinds.kind import Column, Kind, Obj, Resource
from holdfast.kinds.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, child, index, invalid, required


def _check_role(new: Obj, _old: Obj | None, _path: str) -> list[FieldError]:
    if new.get("kind") != "Role":
        return []
    text = "namespaced rules cannot apply to non-resource URLs"
    return [
        invalid(child(index("rules", position), "nonResourceURLs"), rule["nonResourceURLs"], text)
        for position, rule in enumerate(new.get("rules") or [])
        if rule.get("nonResourceURLs")
    ]


def _check_binding(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    reference = new.get("roleRef") or {}
    group, kind, name = (str(reference.get(field) or "") for field in ("apiGroup", "kind", "name"))
    found: list[FieldError] = []
    if old is not None and reference != old.get("roleRef"):
        found.append(invalid("roleRef", {"APIGroup": group, "Kind": kind, "Name": name}, "cannot change roleRef"))
    if group != API_GROUP:
        found.append(unsupported("roleRef.apiGroup", group, (API_GROUP,)))
    allowed = ("Role", "ClusterRole") if new.get("kind") == "RoleBinding" else ("ClusterRole",)
    if kind not in allowed:
        found.append(unsupported("roleRef.kind", kind, allowed))
    found += path_segment("roleRef.name", name) if name else [required("roleRef.name")]
    if new.get("kind") == "ClusterRoleBinding":
        for position, subject in enumerate(new.get("subjects") or []):
            if subject.get("kind") == "ServiceAccount" and not subject.get("namespace"):
                found.append(required(child(index("subjects", position), "namespace")))
    return found


def _subjects(kind: str) -> Column:
    def cell(obj: Obj, _now: float) -> str:
        found = [s for s in obj.get("subjects") or [] if s.get("kind") == kind]
        return joined((f"{s['namespace']}/{s['name']}" if s.get("namespace") else s["name"] for s in found), "")

    return Column(f"{kind}s", cell, priority=1, description=f"Its {kind.lower()}s.")


def _role(obj: Obj, _now: float) -> str:
    return f"{obj['roleRef'].get('kind', '')}/{obj['roleRef'].get('name', '')}"


def _kind(resource: Resource, *, binding: bool) -> Kind:
    columns = (NAME, Column("Role", _role, description="What it grants."), AGE, *map(_subjects, ("User", "Group", "ServiceAccount")))
    return Kind(
        resource=resource,
        schema=schema_of(RBAC + resource.kind),
        singular=resource.kind.lower(),
        storage=resource.plural,
        read_by="admin" if resource.namespaced else "",
        changed_by="admin" if resource.namespaced else "",
        checks=(_check_binding if binding else _check_role,),
        name_check=lambda name, path: path_segment(path, name),
        columns=columns if binding else (NAME, CREATED_AT),
        has_status=False,
        has_generation=False,
        create_on_update=True,
    )


KINDS = (
    _kind(ROLES, binding=False),
    _kind(ROLEBINDINGS, binding=True),
    _kind(CLUSTERROLES, binding=False),
    _kind(CLUSTERROLEBINDINGS, binding=True),
)
