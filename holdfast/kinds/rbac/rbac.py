"""Role, ClusterRole and their bindings: who may do what. Evaluated by ``registry.authorize``."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, CREATED_AT, NAME, joined
from holdfast.kinds.definitions.overlay import overlay
from holdfast.kinds.kind import Column, Kind, Obj, Resource
from holdfast.kinds.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, index, invalid, not_supported, required

_GROUP = "io.k8s.api.rbac.v1."
API_GROUP = "rbac.authorization.k8s.io"


def _check_rules(new: Obj, _old: Obj | None, _path: str) -> list[FieldError]:
    found = []
    for position, rule in enumerate(new.get("rules") or []):
        here = index("rules", position)
        if not rule.get("verbs"):
            found.append(required(child(here, "verbs"), "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            if rule.get("apiGroups") or rule.get("resources"):
                found.append(
                    invalid(
                        child(here, "nonResourceURLs"),
                        rule["nonResourceURLs"],
                        "rules cannot apply to both regular resources and non-resource URLs",
                    )
                )
            continue
        if not rule.get("apiGroups"):
            found.append(required(child(here, "apiGroups"), "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            found.append(required(child(here, "resources"), "resource rules must supply at least one resource"))
    return found


def _check_binding(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    reference = new.get("roleRef") or {}
    found = []
    allowed = ("ClusterRole", "Role") if new["kind"] == "RoleBinding" else ("ClusterRole",)
    if reference.get("kind") not in allowed:
        found.append(not_supported("roleRef.kind", reference.get("kind"), allowed))
    if not reference.get("name"):
        found.append(required("roleRef.name"))
    if old is not None and reference != old.get("roleRef"):
        found.append(invalid("roleRef", reference, "cannot change roleRef"))
    for position, subject in enumerate(new.get("subjects") or []):
        here = index("subjects", position)
        if not subject.get("name"):
            found.append(required(child(here, "name")))
        if subject.get("kind") not in ("Group", "ServiceAccount", "User"):
            found.append(not_supported(child(here, "kind"), subject.get("kind"), ("Group", "ServiceAccount", "User")))
    return found


def _subject_defaults(subject: Obj) -> None:
    if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
        subject["apiGroup"] = API_GROUP


def _subjects(kind: str) -> Column:
    def cell(obj: Obj, _now: float) -> str:
        found = [s for s in obj.get("subjects") or [] if s.get("kind") == kind]
        return joined((f"{s['namespace']}/{s['name']}" if s.get("namespace") else s["name"] for s in found), "")

    return Column(f"{kind}s", cell, priority=1, description=f"Its {kind.lower()}s.")


def _role(obj: Obj, _now: float) -> str:
    return f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"


def _kind(resource: Resource, *, binding: bool) -> Kind:
    columns = (NAME, Column("Role", _role, description="What it grants."), AGE, *map(_subjects, ("User", "Group", "ServiceAccount")))
    return Kind(
        resource=resource,
        schema=schema_of(_GROUP + resource.kind),
        singular=resource.kind.lower(),
        storage=resource.plural,
        checks=(_check_binding if binding else _check_rules,),
        name_check=lambda name, path: [invalid(path, name, text) for text in names.path_segment(name)],
        columns=columns if binding else (NAME, CREATED_AT),
        has_status=False,
        has_generation=False,
        create_on_update=True,
    )


overlay(_GROUP + "RoleRef", defaults={"apiGroup": API_GROUP})
overlay(_GROUP + "Subject", defaulter=_subject_defaults)
KINDS = (
    _kind(ROLES, binding=False),
    _kind(ROLEBINDINGS, binding=True),
    _kind(CLUSTERROLES, binding=False),
    _kind(CLUSTERROLEBINDINGS, binding=True),
)
