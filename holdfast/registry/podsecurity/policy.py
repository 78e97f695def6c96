"""What a namespace asks of its pods: a level and a version for each of enforce, audit and warn, read from its labels.

A label that cannot be read fails closed: enforce then means ``restricted``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.machinery.fielderror import FieldError, invalid

PRIVILEGED, BASELINE, RESTRICTED = LEVELS = ("privileged", "baseline", "restricted")
LATEST = -1
LABEL = "pod-security.kubernetes.io/"
ENFORCE = f"{LABEL}enforce"
_VERSION = re.compile(r"v1\.([0-9]|[1-9][0-9]*)")


@dataclass(frozen=True)
class LevelVersion:
    level: str
    version: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.version == LATEST else f'v1.{self.version}'}"

    def stricter_than(self, other: LevelVersion) -> bool:
        return LEVELS.index(self.level) > LEVELS.index(other.level)


@dataclass(frozen=True)
class Policy:
    enforce: LevelVersion
    audit: LevelVersion
    warn: LevelVersion


def defaults(enforce: str = BASELINE) -> Policy:
    """Where a namespace says nothing. Warned is of the next stricter level, unless everything is allowed."""
    warn = PRIVILEGED if enforce == PRIVILEGED else RESTRICTED
    return Policy(LevelVersion(enforce), LevelVersion(warn), LevelVersion(warn))


def policy_of(labels: Obj, default: Policy) -> tuple[Policy, list[FieldError]]:
    faults: list[FieldError] = []
    read: dict[str, LevelVersion] = {}
    for mode, lenient in (("enforce", RESTRICTED), ("audit", PRIVILEGED), ("warn", PRIVILEGED)):
        start: LevelVersion = getattr(default, mode)
        level = _level(labels, mode, start.level, lenient, faults)
        read[mode] = LevelVersion(level, _version(labels, mode, start.version, faults))
    enforce, warn = read["enforce"], read["warn"]
    # Who asks for more is warned of as much, unless the namespace says otherwise.
    if labels.get(ENFORCE) in LEVELS and f"{LABEL}warn" not in labels and enforce.stricter_than(warn):
        version = warn.version if f"{LABEL}warn-version" in labels else enforce.version
        read["warn"] = LevelVersion(enforce.level, version)
    return Policy(**read), faults


def _level(labels: Obj, mode: str, default: str, unreadable: str, faults: list[FieldError]) -> str:
    given: Any = labels.get(LABEL + mode, default)
    if given in LEVELS:
        return str(given)
    faults.append(invalid(f"metadata.labels[{LABEL}{mode}]", given, f"must be one of {', '.join(LEVELS)}"))
    return unreadable


def _version(labels: Obj, mode: str, default: int, faults: list[FieldError]) -> int:
    label = f"{LABEL}{mode}-version"
    given: Any = labels.get(label)
    if given is None:
        return default
    if given == "latest":
        return LATEST
    found = _VERSION.fullmatch(str(given))
    if found is None:
        faults.append(invalid(f"metadata.labels[{label}]", given, 'must be "latest" or "v1.x"'))
        return LATEST
    return int(found[1])
