"""The Kind record: everything the system knows about one kind, in one frozen value.

Routes, discovery, OpenAPI, the verbs, tables and RBAC's default roles are all read off this record;
no code asks whether a kind is built in. ``kinds.table`` holds them by (group, version, resource).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.machinery.schema import Check, Schema
from holdfast.machinery.selectors import LabelSelector, from_object

Obj = dict[str, Any]
"""An API object as on the wire."""

Prepare = Callable[[Obj, Obj | None], None]
"""(new, old or None on create): resets or derives fields in place before validation."""


@dataclass(frozen=True)
class Resource:
    """How a client names a collection: group, version, plural; plus kind and scope."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``statefulsets.apps`` or ``pods``: as error texts and RBAC print it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection or, with ``name``, of one object."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


@dataclass(frozen=True)
class Column:
    """A printer column. ``cell`` gets (object, now as unix seconds) and returns the cell's JSON value."""

    name: str
    cell: Callable[[Obj, float], Any]
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


@dataclass(frozen=True)
class Subresource:
    """``verbs`` as in discovery (get, patch, update, create). ``kind`` etc. when the body is another kind (Scale)."""

    name: str
    verbs: tuple[str, ...]
    kind: str = ""
    group: str = ""
    version: str = ""
    replicas_path: tuple[str, ...] = ()
    """scale only: where spec.replicas lies, e.g. ("spec", "replicas")."""
    selects: Callable[[Mapping[str, Any] | None], LabelSelector] = from_object
    """scale only: how spec.selector reads, as a LabelSelector or as a plain map."""
    part: Callable[[Obj, Obj], None] | None = None
    """(stored, written): takes into a copy of the stored object the one part of it that is written through here."""
    checks: tuple[Check, ...] = ()
    """Of such a part, in place of the kind's own checks."""


def proxied(options: str) -> Subresource:
    """``proxy``, with the kind of its options as discovery names it."""
    return Subresource("proxy", ("create", "delete", "get", "patch", "update"), kind=options)


@dataclass(frozen=True)
class Kind:
    """One kind at one served version."""

    resource: Resource
    schema: Schema
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    storage: str = ""
    """Key prefix of its objects ("pods", "apps/statefulsets"); kinds that share one (both Events) share objects.
    "" = never stored, only answered (``kinds.answered``)."""
    to_storage: Callable[[Obj], Obj] | None = None
    from_storage: Callable[[Obj], Obj] | None = None
    """Conversions between this served form and the stored form; None when they are the same."""
    prepare: tuple[Prepare, ...] = ()
    checks: tuple[Check, ...] = ()
    """Whole-object checks (new, old, path "") after the schema's own."""
    warnings: tuple[Callable[[Obj, Obj | None], list[str]], ...] = ()
    """(new, old) -> what to warn its author of."""
    status_checks: tuple[Check, ...] = ()
    """Whole-object checks for writes through /status."""
    name_check: Callable[[str, str], list[Any]] | None = None
    """(name, path "metadata.name") -> field errors; None = DNS subdomain."""
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    selectable: Mapping[str, Callable[[Obj], str]] = field(default_factory=dict)
    """Field selectors besides metadata.name and metadata.namespace."""
    has_status: bool = True
    """PUT of the object keeps the stored status; /status keeps the rest."""
    has_generation: bool = True
    """metadata.generation counts spec changes."""
    unconditional_update: bool = True
    """PUT without resourceVersion is allowed."""
    create_on_update: bool = False
    """PUT of an absent object creates it (Lease, Endpoints, RBAC do; Pod does not)."""
    default_grace: Callable[[Obj], int] | None = None
    """Graceful deletion: seconds granted when the caller names none (pods); None = immediate."""
    default_propagation: str = ""
    """What becomes of dependents when a deletion does not say: Orphan, or "" for the background."""
    delete_warning: str = ""
    """For who does not say."""
    event_ttl_seconds: int = 0
    """Objects disappear this long after their last write (Events: 3600)."""
    deprecation: str = ""
    """Every answer about a deprecated kind carries this Warning."""
    read_by: str = ""
    changed_by: str = ""
    """The role for people (view < edit < admin) from which on its objects are read, and changed; "" = by none of them."""
    acted_on: bool = True
    """False: no controller acts on it yet; create answers with a Warning."""
