"""Label and field selectors of a request, as one predicate over objects."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.kinds.kind import Kind, Obj
from holdfast.machinery import errors, selectors
from holdfast.registry.request import Request

Predicate = Callable[[Obj], bool]
_META = ("metadata.name", "metadata.namespace")


def predicate(request: Request) -> Predicate | None:
    """None when everything is selected. Raises ApiError 400 for a malformed selector or an unknown field."""
    labels = selectors.parse_label_selector(request.options.get("labelSelector", ""))
    wanted = selectors.parse_field_selector(request.options.get("fieldSelector", ""))
    fields = [(_getter(request.kind, name), op, value) for name, op, value in wanted]
    if request.name:
        fields.append((_meta("metadata.name"), "=", request.name))
    if labels.empty and not fields:
        return None

    def selected(obj: Obj) -> bool:
        if not labels.matches(obj["metadata"].get("labels") or {}):
            return False
        return all((get(obj) == value) is (op == "=") for get, op, value in fields)

    return selected


def one_name(request: Request) -> str:
    """The name that everything selected has; "" for any."""
    wanted = selectors.parse_field_selector(request.options.get("fieldSelector", ""))
    return request.name or next((value for name, op, value in wanted if (name, op) == ("metadata.name", "=")), "")


def _meta(name: str) -> Callable[[Obj], str]:
    field = name.rpartition(".")[2]
    return lambda obj: str(obj["metadata"].get(field, ""))


def _getter(kind: Kind, name: str) -> Callable[[Obj], str]:
    if name in _META:
        return _meta(name)
    found = kind.selectable.get(name)
    if found is None:
        if kind.selectable:
            raise errors.bad_request(f"field label not supported: {name}")
        raise errors.bad_request(f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"')
    return found
