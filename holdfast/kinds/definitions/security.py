"""Security contexts of pods and containers."""

from __future__ import annotations

import re
from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import identifier, items, one_of
from holdfast.machinery.fielderror import FieldError, child, invalid, required

_SYSCTL = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
_SYSCTL_TEXT = (
    "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
)


def _identifiers(context: dict[str, Any], path: str, fields: tuple[str, ...]) -> list[FieldError]:
    return [error for name in fields for error in identifier(child(path, name), context.get(name))]


def _check_container(context: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = _identifiers(context, path, ("runAsUser", "runAsGroup"))
    found += one_of(child(path, "procMount"), context.get("procMount"), ("Default", "Unmasked"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            found.append(invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
        if "SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or []) and not context.get("privileged"):
            text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            found.append(invalid(path, context, text))
    return found


def _check_pod(context: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = _identifiers(context, path, ("fsGroup", "runAsUser", "runAsGroup"))
    for position, group in enumerate(context.get("supplementalGroups") or []):
        found += identifier(f"{child(path, 'supplementalGroups')}[{position}]", group)
    for sysctl, here in items(context, path, "sysctls"):
        name = sysctl.get("name") or ""
        if name and (len(name) > 253 or not _SYSCTL.fullmatch(name)):
            found.append(invalid(child(here, "name"), name, _SYSCTL_TEXT))
    found += one_of(child(path, "fsGroupChangePolicy"), context.get("fsGroupChangePolicy"), ("Always", "OnRootMismatch"))
    return found


def _check_seccomp(profile: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = one_of(child(path, "type"), profile.get("type"), ("Localhost", "RuntimeDefault", "Unconfined"))
    if profile.get("type") == "Localhost" and not profile.get("localhostProfile"):
        found.append(required(child(path, "localhostProfile"), "must be set when seccomp type is Localhost"))
    return found


overlay(CORE + "SecurityContext", checks=(_check_container,))
overlay(CORE + "PodSecurityContext", checks=(_check_pod,))
overlay(CORE + "Sysctl", optional=("value",))
overlay(CORE + "SeccompProfile", checks=(_check_seccomp,))
