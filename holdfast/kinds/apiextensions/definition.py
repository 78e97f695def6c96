"""CustomResourceDefinition, to be read only: there are none yet, and clients must be able to find that out.

kubectl asks for the list before it sends an object whose kind cannot be patched (reviews), and gives up when there is none.
"""

from __future__ import annotations

from holdfast.kinds.columns import CREATED_AT, NAME
from holdfast.kinds.definitions.overlay import META
from holdfast.kinds.kind import Kind, Resource
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.schema import Schema

_TEXT = Schema(type="string")
_FREE = Schema(type="object", preserve_unknown=True)

KIND = Kind(
    resource=Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False),
    schema=Schema(
        definition="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        group_version_kind=(("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),),
        type="object",
        properties={"apiVersion": _TEXT, "kind": _TEXT, "metadata": schema_of(META + "ObjectMeta"), "spec": _FREE, "status": _FREE},
    ),
    singular="customresourcedefinition",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    verbs=("get", "list", "watch"),
    storage="customresourcedefinitions",
    columns=(NAME, CREATED_AT),
    has_status=False,
)
