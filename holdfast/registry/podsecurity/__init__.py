"""Pod Security Standards as pure functions: what a namespace asks for (``policy``), and whether a pod keeps to it.

``evaluate`` runs the checks of a level in the order of their names, baseline first; each returns what it
refuses as (reason, detail) in upstream's words. ``admission.podsecurity`` turns that into refusals and warnings.
"""

from __future__ import annotations

from functools import cache

from holdfast.kinds.kind import Obj
from holdfast.registry.podsecurity import baseline, restricted
from holdfast.registry.podsecurity.pod import Check, Finding, Pod
from holdfast.registry.podsecurity.policy import BASELINE, LATEST, PRIVILEGED, LevelVersion

NEWEST = 36
"""Minor of the newest standard known; ``latest`` and what is newer mean this one."""


def evaluate(wanted: LevelVersion, metadata: Obj, spec: Obj) -> list[Finding]:
    """What the pod has against the standard; nothing = it keeps to it."""
    if wanted.level == PRIVILEGED:
        return []
    version = NEWEST if wanted.version == LATEST else min(wanted.version, NEWEST)
    pod = Pod(metadata, spec, version)
    return [finding for check in _checks(wanted.level, version) if (finding := check.run(pod))]


@cache
def _checks(level: str, version: int) -> list[Check]:
    basic = [check for check in baseline.CHECKS if check.since <= version]
    if level == BASELINE:
        return basic
    strict = [check for check in restricted.CHECKS if check.since <= version]
    overridden = {name for check in strict for name in check.overrides}
    return [check for check in basic if check.name not in overridden] + strict


def details(findings: list[Finding]) -> str:
    return ", ".join(f"{reason} ({detail})" if detail else reason for reason, detail in findings)


def reasons(findings: list[Finding]) -> str:
    return ", ".join(reason for reason, _ in findings)
