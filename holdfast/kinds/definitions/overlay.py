"""The overlay: what upstream keeps in code (defaults, bounds, cross-field checks), by definition name.

A module beside this one calls ``overlay`` once for each definition it knows about; ``kinds.schemas``
merges these into the nodes it compiles. So a rule of PodSpec stands once, for Pods and for templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.machinery.schema import Check, Defaulter

CORE = "io.k8s.api.core.v1."
APPS = "io.k8s.api.apps.v1."
AUTOSCALING = "io.k8s.api.autoscaling.v2."
AUTOSCALING_V1 = "io.k8s.api.autoscaling.v1."
BATCH = "io.k8s.api.batch.v1."
POLICY = "io.k8s.api.policy.v1."
NETWORKING = "io.k8s.api.networking.v1."
NODE = "io.k8s.api.node.v1."
SCHEDULING = "io.k8s.api.scheduling.v1."
STORAGE = "io.k8s.api.storage.v1."
META = "io.k8s.apimachinery.pkg.apis.meta.v1."


@dataclass
class Overlay:
    defaults: dict[str, Any] = field(default_factory=dict)
    defaulters: list[Defaulter] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    """Fields upstream's document requires only in code."""
    optional: tuple[str, ...] = ()
    """Fields the document calls required whose absence one of the checks reports in upstream's own words."""
    held: tuple[str, ...] = ()
    """Properties that upstream's types keep by value: always there, so that no manager of fields ever adds them."""


OVERLAYS: dict[str, Overlay] = {}


def overlay(
    definition: str,
    *,
    defaults: Mapping[str, Any] | None = None,
    defaulter: Defaulter | None = None,
    checks: Sequence[Check] = (),
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    required: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
    held: tuple[str, ...] = (),
) -> None:
    """Adds to a definition: constant defaults, a defaulter, checks, and attributes of single properties."""
    entry = OVERLAYS.setdefault(definition, Overlay())
    entry.defaults.update(defaults or {})
    if defaulter:
        entry.defaulters.append(defaulter)
    entry.checks.extend(checks)
    for name, attributes in (fields or {}).items():
        entry.fields.setdefault(name, {}).update(attributes)
    entry.required += required
    entry.optional += optional
    entry.held += held
