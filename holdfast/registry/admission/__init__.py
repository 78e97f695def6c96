"""Admission: what the server adds to, or refuses in, a write. Two ordered tuples; the pipeline walks them.

Mutating plugins run before validation and only on create unless they say otherwise; validating ones after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from holdfast.registry.admission import classes, namespace, node, pod, podsecurity, rbac, storage
from holdfast.registry.write import Write

Plugin = Callable[[Write], Awaitable[None]]

MUTATING: tuple[Plugin, ...] = (
    namespace.lifecycle,
    pod.service_account,
    pod.tolerations,
    classes.priority,
    node.not_ready,
    storage.default_class,
    storage.in_use_protection,
    classes.runtime,
    classes.ingress,
)
VALIDATING: tuple[Plugin, ...] = (
    namespace.terminating,
    node.restrict,
    podsecurity.secure,
    rbac.no_escalation,
    classes.one_default,
    storage.resize,
)
