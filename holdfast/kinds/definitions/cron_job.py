"""CronJobSpec: a schedule, the zone it is told in, and the Job that each of its times makes."""

from __future__ import annotations

import re
import zoneinfo
from typing import Any

from holdfast.kinds.definitions.overlay import BATCH, overlay
from holdfast.kinds.definitions.rules import all_not_negative, fill, fill_absent, one_of
from holdfast.machinery import cron
from holdfast.machinery.fielderror import FieldError, child, invalid, required

POLICIES = ("Allow", "Forbid", "Replace")
_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}")
_LOCAL_TEXT = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"


def _defaults(cron_job: dict[str, Any]) -> None:
    fill_absent(cron_job, spec={}, status={})


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill(spec, concurrencyPolicy="Allow")
    fill_absent(spec, suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1, jobTemplate={})


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    before = old if isinstance(old, dict) else {}
    counts = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    found = _check_schedule(spec, before, child(path, "schedule")) + all_not_negative(spec, path, counts)
    zone = spec.get("timeZone")
    if zone is not None and zone != before.get("timeZone"):
        found += _check_zone(zone, child(path, "timeZone"))
    return found + one_of(child(path, "concurrencyPolicy"), spec.get("concurrencyPolicy"), POLICIES)


def _check_schedule(spec: dict[str, Any], old: dict[str, Any], path: str) -> list[FieldError]:
    schedule = spec.get("schedule") or ""
    if not schedule:
        return [required(path)]
    found: list[FieldError] = []
    try:
        cron.check(schedule)
    except ValueError as error:
        found.append(invalid(path, schedule, str(error)))
    if "TZ" in schedule:
        if "TZ" not in (old.get("schedule") or ""):
            found.append(invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
        elif spec.get("timeZone") is not None:
            found.append(invalid(path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))
    return found


def _check_zone(zone: str, path: str) -> list[FieldError]:
    unknown = [invalid(path, zone, f"unknown time zone {zone}")]
    if not zone:
        return [invalid(path, zone, "timeZone must be nil or non-empty string")]
    if any(part in (".", "..") or part.startswith("-") or not _PART.fullmatch(part) for part in zone.split("/")):
        return unknown
    if zone.lower() == "local":
        return [invalid(path, zone, _LOCAL_TEXT)]
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return unknown
    return []


overlay(BATCH + "CronJob", defaulter=_defaults)
overlay(BATCH + "CronJobSpec", defaulter=_spec_defaults, checks=(_check_spec,), optional=("schedule", "jobTemplate"))
