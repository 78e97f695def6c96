"""Discovery, legacy (one document a group version) and aggregated (all in one, apidiscovery.k8s.io).

Both say the same about the same resources, in two spellings.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any

from holdfast.kinds.kind import Kind, Subresource
from holdfast.kinds.table import KindTable

Json = dict[str, Any]
_GROUPS = (
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
)
"""Their order decides which group a client takes when two serve the name that it was given. Other groups follow by name."""
_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


def _rank(version: str) -> tuple[int, int, int, str]:
    """Sorts versions best first: stable before beta before alpha, then the highest number."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (stage, -int(found[1]), -int(found[3] or 0), "")


def groups(kinds: KindTable) -> dict[str, list[str]]:
    """Served groups in the order of discovery, each with its versions, the preferred one first."""
    found: dict[str, set[str]] = {}
    for kind in kinds:
        found.setdefault(kind.resource.group, set()).add(kind.resource.version)
    known = [name for name in _GROUPS if name in found]
    return {name: sorted(found[name], key=_rank) for name in (*known, *sorted(found.keys() - set(known)))}


def _of(kinds: KindTable, group_name: str, version: str) -> list[Kind]:
    found = [kind for kind in kinds if (kind.resource.group, kind.resource.version) == (group_name, version)]
    return sorted(found, key=lambda kind: kind.resource.plural)


def _subresources(kind: Kind) -> list[Subresource]:
    return sorted(kind.subresources.values(), key=lambda sub: sub.name)


def _hash(kind: Kind, kinds: Iterable[Kind]) -> str:
    """Of the form in which the objects are stored: clients see by it that two kinds are one, or that the form changed."""
    stored = kind
    if kind.to_storage is not None:
        stored = next((other for other in kinds if other.storage == kind.storage and other.to_storage is None), kind)
    resource = stored.resource
    name = f"{resource.group}/{resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(name.encode()).digest()[:8]).decode()


# The legacy documents.


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
        stored = "watch" in kind.verbs
        entries.append(entry | _extras(kind) | ({"storageVersionHash": _hash(kind, kinds)} if stored else {}))
        for sub in _subresources(kind):
            below: Json = {"name": f"{resource.plural}/{sub.name}", "singularName": "", "namespaced": resource.namespaced}
            if sub.group:
                below |= {"group": sub.group, "version": sub.version}
            entries.append(below | {"kind": sub.kind or resource.kind, "verbs": sorted(sub.verbs)})
    if not entries:
        return None
    head: Json = {"kind": "APIResourceList"}
    if group_name:
        return head | {"apiVersion": "v1", "groupVersion": f"{group_name}/{version}", "resources": entries}
    return head | {"groupVersion": version, "resources": entries}


def _extras(kind: Kind) -> Json:
    found: Json = {}
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    return found


# The aggregated document.


def aggregated(kinds: KindTable, version: str, *, core: bool) -> Json:
    """APIGroupDiscoveryList of ``/api`` (core) or ``/apis``, in version v2 or v2beta1."""
    items = []
    for name, versions in groups(kinds).items():
        if (name == "") is not core:
            continue
        listed = [{"version": v, "resources": _aggregated_resources(kinds, name, v), "freshness": "Current"} for v in versions]
        items.append({"metadata": {"name": name} if name else {}, "versions": listed})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}, "items": items}


def _aggregated_resources(kinds: KindTable, group_name: str, version: str) -> list[Json]:
    out: list[Json] = []
    for kind in _of(kinds, group_name, version):
        resource = kind.resource
        entry: Json = {
            "resource": resource.plural,
            "responseKind": {"group": "", "version": "", "kind": resource.kind},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": list(kind.verbs),
            **_extras(kind),
        }
        if kind.subresources:
            entry["subresources"] = [
                {
                    "subresource": sub.name,
                    "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind or resource.kind},
                    "verbs": sorted(sub.verbs),
                }
                for sub in _subresources(kind)
            ]
        out.append(entry)
    return out
