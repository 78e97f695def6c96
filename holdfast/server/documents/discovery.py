"""Discovery, legacy (one document a group version) and aggregated (all in one, apidiscovery.k8s.io)."""

from __future__ import annotations

import hashlib
from typing import Any

from holdfast.kinds.kind import Kind
from holdfast.kinds.table import KindTable
from holdfast.registry.authorize import reviews

Json = dict[str, Any]
# Created, answered and never stored: (plural, kind, namespaced) by group.
REVIEWS: dict[str, list[tuple[str, str, bool]]] = {}
for _plural, (_group_name, _kind_name) in sorted(reviews.KINDS.items()):
    REVIEWS.setdefault(_group_name, []).append((_plural, _kind_name, _plural.startswith("local")))


def groups(kinds: KindTable) -> dict[str, list[str]]:
    """Served groups ("" first) with their versions."""
    out: dict[str, list[str]] = {"": []}
    for kind in kinds:
        versions = out.setdefault(kind.resource.group, [])
        if kind.resource.version not in versions:
            versions.append(kind.resource.version)
    for group in REVIEWS:
        out.setdefault(group, []).append("v1")
    return out


def core_versions(address: str) -> Json:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group(name: str, versions: list[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(kinds: KindTable) -> Json:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(n, v) for n, v in groups(kinds).items() if n]}


def group(kinds: KindTable, name: str) -> Json | None:
    versions = groups(kinds).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if name and versions else None


def _hash(kind: Kind) -> str:
    return hashlib.sha256(kind.storage.encode()).hexdigest()[:11] + "="


def resource_list(kinds: KindTable, group_name: str, version: str) -> Json | None:
    """APIResourceList of a group version; None when it is not served."""
    entries: list[Json] = []
    for kind in _of(kinds, group_name, version):
        resource = kind.resource
        entry: Json = {
            "name": resource.plural,
            "singularName": kind.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        entries.append(entry | {"storageVersionHash": _hash(kind)})
        for sub in sorted(kind.subresources.values(), key=lambda s: s.name):
            below: Json = {"name": f"{resource.plural}/{sub.name}", "singularName": "", "namespaced": resource.namespaced}
            if sub.group:
                below |= {"group": sub.group, "version": sub.version}
            entries.append(below | {"kind": sub.kind or resource.kind, "verbs": sorted(sub.verbs)})
    for plural, name, namespaced in REVIEWS.get(group_name, ()) if version == "v1" else ():
        entries.append({"name": plural, "singularName": name.lower(), "namespaced": namespaced, "kind": name, "verbs": ["create"]})
    if not entries:
        return None
    api_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": entries}


def _of(kinds: KindTable, group_name: str, version: str) -> list[Kind]:
    found = [k for k in kinds if (k.resource.group, k.resource.version) == (group_name, version)]
    return sorted(found, key=lambda k: k.resource.plural)


def aggregated(kinds: KindTable, version: str, *, core: bool) -> Json:
    """APIGroupDiscoveryList of ``/api`` (core) or ``/apis``, in version v2 or v2beta1."""
    items = []
    for name, versions in groups(kinds).items():
        if (name == "") is not core:
            continue
        listed = [{"version": v, "resources": _aggregated_resources(kinds, name, v), "freshness": "Current"} for v in versions]
        metadata: Json = {"creationTimestamp": None}
        items.append({"metadata": ({"name": name} | metadata) if name else metadata, "versions": listed})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}, "items": items}


def _aggregated_resources(kinds: KindTable, group_name: str, version: str) -> list[Json]:
    out: list[Json] = []
    for kind in _of(kinds, group_name, version):
        resource = kind.resource
        entry: Json = {
            "resource": resource.plural,
            "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        below = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": sub.group or resource.group,
                    "version": sub.version or resource.version,
                    "kind": sub.kind or resource.kind,
                },
                "verbs": sorted(sub.verbs),
            }
            for sub in sorted(kind.subresources.values(), key=lambda s: s.name)
        ]
        if below:
            entry["subresources"] = below
        out.append(entry)
    for plural, name, namespaced in REVIEWS.get(group_name, ()) if version == "v1" else ():
        out.append(
            {
                "resource": plural,
                "responseKind": {"group": group_name, "version": version, "kind": name},
                "scope": "Namespaced" if namespaced else "Cluster",
                "singularResource": name.lower(),
                "verbs": ["create"],
            }
        )
    return out
