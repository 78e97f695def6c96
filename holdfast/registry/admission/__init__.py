"""Admission: what the system adds to an object, and what it refuses, in order. One file a subject."""

from __future__ import annotations

from holdfast.registry.admission.deletion import check_delete
from holdfast.registry.admission.namespaces import namespace_lifecycle
from holdfast.registry.admission.pods import default_tolerations, priority, service_account
from holdfast.registry.admission.services import allocate
from holdfast.registry.admission.storage import default_class, in_use_protection

MUTATING = (namespace_lifecycle, service_account, default_tolerations, priority, default_class, in_use_protection)
VALIDATING = (allocate,)

__all__ = ["MUTATING", "VALIDATING", "check_delete"]
