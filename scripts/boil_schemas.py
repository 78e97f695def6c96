"""Boils the upstream OpenAPI definitions down to ``holdfast/kinds/data/definitions-1.36.json``: facts, no prose.

Run once per API level, with the ``schemas`` extra installed. The source (PyPI ``kubernetes-validate``) is
the upstream document after openapi2jsonschema's edits, which are undone here: nullable type pairs,
enums added to kind and apiVersion, Quantity and IntOrString as unions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate

LEVEL = "1.36"
ROOT = Path(__file__).resolve().parents[1]
GROUPS = (
    "io.k8s.api.core.v1.",
    "io.k8s.api.apps.v1.",
    "io.k8s.api.batch.v1.",
    "io.k8s.api.discovery.v1.",
    "io.k8s.api.storage.v1.",
    "io.k8s.api.coordination.v1.",
    "io.k8s.api.events.v1.",
    "io.k8s.api.policy.v1.",
    "io.k8s.api.rbac.v1.",
    "io.k8s.api.networking.v1.",
    "io.k8s.api.autoscaling.v1.",
    "io.k8s.api.autoscaling.v2.",
    "io.k8s.api.authentication.v1.",
    "io.k8s.api.authorization.v1.",
    "io.k8s.api.scheduling.v1.",
    "io.k8s.api.node.v1.",
)
META = (
    "Status",
    "DeleteOptions",
    "LabelSelector",
    "ObjectMeta",
    "ListMeta",
    "Patch",
    "WatchEvent",
    "APIVersions",
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
)
KEPT = {
    "format": "format",
    "x-kubernetes-list-type": "listType",
    "x-kubernetes-list-map-keys": "listKeys",
    "x-kubernetes-patch-strategy": "patchStrategy",
    "x-kubernetes-patch-merge-key": "patchKey",
    "x-kubernetes-map-type": "mapType",
}
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "format": "quantity"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
}


def reference(node: dict[str, Any]) -> str:
    return str(node["$ref"]).rpartition("/")[2]


def boil(name: str, node: dict[str, Any], *, top: bool = False) -> dict[str, Any]:
    """The facts of one node; references become ``{"ref": definition}``."""
    if "$ref" in node:
        return {"ref": reference(node), **{new: node[old] for old, new in KEPT.items() if old in node}}
    if "allOf" in node and len(node["allOf"]) == 1:
        return boil(name, {**node, **node["allOf"][0]})
    out: dict[str, Any] = {new: node[old] for old, new in KEPT.items() if old in node}
    kind = node.get("type")
    if isinstance(kind, list):
        kind = next(part for part in kind if part != "null")
    if kind:
        out["type"] = kind
    properties = node.get("properties")
    if properties:
        out["type"] = "object"
        out["properties"] = {
            field: boil(name, {k: v for k, v in child.items() if not (top and k == "enum" and field in ("kind", "apiVersion"))})
            for field, child in properties.items()
        }
    if isinstance(node.get("additionalProperties"), dict):
        out["values"] = boil(name, node["additionalProperties"])
    if "items" in node:
        out["items"] = boil(name, node["items"])
    if node.get("required"):
        out["required"] = sorted(node["required"])
    if node.get("enum"):
        out["enum"] = node["enum"]
    if node.get("x-kubernetes-group-version-kind"):
        out["gvk"] = [[g["group"], g["version"], g["kind"]] for g in node["x-kubernetes-group-version-kind"]]
    return out


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["ref"]} if isinstance(node.get("ref"), str) else set()
        return found.union(*(references(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(references(child) for child in node))
    return set()


def main() -> None:
    source = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{LEVEL}.0-local" / "_definitions.json"
    upstream = json.loads(source.read_text())["$defs"]
    wanted = {name for name in upstream if name.startswith(GROUPS)}
    wanted |= {f"io.k8s.apimachinery.pkg.apis.meta.v1.{name}" for name in META}
    wanted.add("io.k8s.apimachinery.pkg.version.Info")
    out: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        out[name] = SPECIAL.get(name) or boil(name, upstream[name], top=True)
        wanted |= references(out[name]) - out.keys()
    target = ROOT / "holdfast" / "kinds" / "data" / f"definitions-{LEVEL}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(dict(sorted(out.items())), separators=(",", ":"), sort_keys=True) + "\n")
    print(f"{len(out)} definitions, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
