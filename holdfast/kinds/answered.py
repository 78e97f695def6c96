"""Kinds that are answered and never stored: reviews, which are questions, and Binding, which is an order.

They are created and nothing else; ``registry.answered`` says what becomes of each.
"""

from __future__ import annotations

from holdfast.kinds import resources, schemas
from holdfast.kinds.kind import Kind, Resource


def _kind(resource: Resource) -> Kind:
    schema = schemas.of_kind(resource.group, resource.version, resource.kind)
    assert schema is not None
    return Kind(
        resource=resource,
        schema=schema,
        singular=resource.kind.lower(),
        verbs=("create",),
        read_by="view" if resource == resources.BINDINGS else "",
        has_status=False,
        has_generation=False,
    )


KINDS = tuple(
    map(
        _kind,
        (
            resources.BINDINGS,
            resources.SELFSUBJECTREVIEWS,
            resources.TOKENREVIEWS,
            resources.LOCALSUBJECTACCESSREVIEWS,
            resources.SELFSUBJECTACCESSREVIEWS,
            resources.SELFSUBJECTRULESREVIEWS,
            resources.SUBJECTACCESSREVIEWS,
        ),
    )
)
