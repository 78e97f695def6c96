"""The restricted standard: what a hardened pod says of itself, on top of baseline.

Upstream asks less of a pod with ``hostUsers: false``; nodes here make no user namespaces, so nothing is let off.
"""

from __future__ import annotations

from holdfast.kinds.kind import Obj
from holdfast.registry.podsecurity.baseline import PROFILES, added, wrong_types
from holdfast.registry.podsecurity.pod import Check, Finding, Pod, containers, context, plural, quoted

_BIND = frozenset(("NET_BIND_SERVICE",))
_VOLUMES = frozenset(
    ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret")
)


def _escalation(pod: Pod) -> Finding | None:
    names = [] if pod.is_windows else pod.named(lambda c: context(c).get("allowPrivilegeEscalation") is not False)
    said = f"{containers(names)} must set securityContext.allowPrivilegeEscalation=false"
    return ("allowPrivilegeEscalation != false", said) if names else None


def _capabilities(pod: Pod) -> Finding | None:
    if pod.is_windows:
        return None
    keeping = pod.named(lambda c: "ALL" not in ((context(c).get("capabilities") or {}).get("drop") or []))
    adding = pod.named(lambda c: added(c, _BIND))
    wrong = sorted({name for c in pod.containers for name in added(c, _BIND)})
    said = [f'{containers(keeping)} must set securityContext.capabilities.drop=["ALL"]'] if keeping else []
    if adding:
        said.append(f"{containers(adding)} must not include {quoted(wrong)} in securityContext.capabilities.add")
    return ("unrestricted capabilities", "; ".join(said)) if said else None


def _volumes(pod: Pod) -> Finding | None:
    def source(volume: Obj) -> str:
        return next((field for field, value in volume.items() if field != "name" and value is not None), "unknown")

    wrong = [volume for volume in pod.spec.get("volumes") or [] if source(volume) not in _VOLUMES]
    names, kinds = [volume["name"] for volume in wrong], sorted({source(volume) for volume in wrong})
    if not names:
        return None
    uses = f"{plural('uses', names, 'use')} {plural('restricted volume type', kinds)}"
    return "restricted volume types", f"{plural('volume', names)} {quoted(names)} {uses} {quoted(kinds)}"


def _non_root(pod: Pod) -> Finding | None:
    setters = pod.setters(lambda given: given.get("runAsNonRoot") is False)
    if setters:
        return "runAsNonRoot != true", f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false"
    names = [] if pod.context.get("runAsNonRoot") else pod.named(lambda c: context(c).get("runAsNonRoot") is None)
    return ("runAsNonRoot != true", f"pod or {containers(names)} must set securityContext.runAsNonRoot=true") if names else None


def _user(pod: Pod) -> Finding | None:
    setters = pod.setters(lambda given: given.get("runAsUser") == 0)
    return ("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0") if setters else None


def _seccomp(pod: Pod) -> Finding | None:
    if pod.is_windows:
        return None
    setters, values = wrong_types(pod, "seccompProfile", PROFILES)
    if setters:
        return "seccompProfile", f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {quoted(values)}"
    unset = pod.context.get("seccompProfile") is None
    names = pod.named(lambda c: context(c).get("seccompProfile") is None) if unset else []
    said = f'pod or {containers(names)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return ("seccompProfile", said) if names else None


CHECKS = (
    Check("allowPrivilegeEscalation", _escalation, since=8),
    Check("capabilities_restricted", _capabilities, since=22, overrides=("capabilities_baseline",)),
    Check("restrictedVolumes", _volumes, overrides=("hostPathVolumes",)),
    Check("runAsNonRoot", _non_root),
    Check("runAsUser", _user, since=23),
    Check("seccompProfile_restricted", _seccomp, since=19, overrides=("seccompProfile_baseline",)),
)
