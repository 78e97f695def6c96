"""Label and field selectors of a request, as one predicate over objects."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors, selectors
from holdfast.registry.request import Request

Predicate = Callable[[Obj], bool]


def predicate(request: Request) -> Predicate | None:
    """None when everything is selected. Raises ApiError 400 for a malformed selector or an unknown field."""
    labels = selectors.parse_label_selector(request.options.get("labelSelector", ""))
    fields = [(_getter(request.kind, name), op, value) for name, op, value in _fields(request)]
    if request.verb in ("list", "watch", "deletecollection") and request.name:
        fields.append((lambda obj: str(obj["metadata"].get("name", "")), "=", request.name))
    if labels.empty and not fields:
        return None

    def selected(obj: Obj) -> bool:
        if not labels.matches(obj["metadata"].get("labels") or {}):
            return False
        return all((get(obj) == value) is (op == "=") for get, op, value in fields)

    return selected


def _fields(request: Request) -> list[tuple[str, str, str]]:
    return selectors.parse_field_selector(request.options.get("fieldSelector", ""))


def _getter(kind: Kind, name: str) -> Callable[[Obj], str]:
    if name in ("metadata.name", "metadata.namespace"):
        field = name.rpartition(".")[2]
        return lambda obj: str(obj["metadata"].get(field, ""))
    found = kind.selectable.get(name)
    if found is None:
        resource = kind.resource
        raise errors.bad_request(
            f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match label selector "", field selector "{name}":'
            f" field label not supported: {name}"
        )
    return found
