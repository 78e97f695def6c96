"""JobSpec: pods that end, how many of them, and what their failures mean. The same in a Job and in a CronJob's template."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.job_policies import check_failure_policy, check_success_policy
from holdfast.kinds.definitions.overlay import BATCH, overlay
from holdfast.kinds.definitions.rules import all_not_negative, drop_zero, fill_absent, one_of, qualified, unsupported
from holdfast.kinds.definitions.template import check_made, check_matches, fill_template
from holdfast.machinery.fielderror import FieldError, child, invalid, required, too_long

COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
MODES = ("NonIndexed", "Indexed")
UNLIMITED = 2147483647
MOST_PARALLEL = MOST_FAILED = MANY = 100_000
MOST_OF_MANY = 10_000
"""Parallel pods and failed indexes that a job of more than MANY indexes may have."""
_MANAGER_LIMIT = 63
_OF_MANY = f"must be less than or equal to {MOST_OF_MANY} when completions are above {MANY} and used with backoff limit per index"


def _defaults(job: dict[str, Any]) -> None:
    fill_absent(job, spec={}, status={})
    spec = job["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    limit = UNLIMITED if spec.get("backoffLimitPerIndex") is not None else 6
    fill_absent(spec, parallelism=1, backoffLimit=limit, completionMode="NonIndexed", suspend=False, manualSelector=False)
    fill_absent(spec, podReplacementPolicy="Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        fill_absent(job["metadata"], labels=labels)


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = all_not_negative(spec, path, COUNTS)
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        found.append(required(child(path, "backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
    if spec.get("managedBy") is not None:
        found += _check_manager(spec["managedBy"], child(path, "managedBy"))
    found += one_of(child(path, "completionMode"), spec.get("completionMode"), MODES)
    found += _check_indexed(spec, path) if spec.get("completionMode") == "Indexed" else _check_plain(spec, path)
    found += check_failure_policy(spec, path) + check_made(spec, path) + _check_restart(spec, path)
    replacement = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    return found + one_of(child(path, "podReplacementPolicy"), spec.get("podReplacementPolicy"), replacement)


def _check_manager(name: str, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if "/" not in name or qualified(path, name):
        found.append(invalid(path, name, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    return [*found, too_long(path, name, _MANAGER_LIMIT)] if len(name) > _MANAGER_LIMIT else found


def _check_plain(spec: dict[str, Any], path: str) -> list[FieldError]:
    names = ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy")
    text = "requires indexed completion mode"
    return [invalid(child(path, name), spec[name], text) for name in names if spec.get(name) is not None]


def _check_indexed(spec: dict[str, Any], path: str) -> list[FieldError]:
    completions, parallelism, failed = spec.get("completions"), spec.get("parallelism") or 0, spec.get("maxFailedIndexes")
    here, failures = child(path, "parallelism"), child(path, "maxFailedIndexes")
    found: list[FieldError] = []
    if completions is None:
        found.append(required(child(path, "completions"), "when completion mode is Indexed"))
    if parallelism > MOST_PARALLEL:
        text = f"must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed"
        found.append(invalid(here, parallelism, text))
    if failed is not None and completions is not None and failed > completions:
        found.append(invalid(failures, failed, "must be less than or equal to completions"))
    if failed is not None and failed > MOST_FAILED:
        found.append(invalid(failures, failed, f"must be less than or equal to {MOST_FAILED}"))
    if completions is not None and completions > MANY and spec.get("backoffLimitPerIndex") is not None:
        if failed is None:
            found.append(required(failures, f"must be specified when completions is above {MANY}"))
        elif failed > MOST_OF_MANY:
            found.append(invalid(failures, failed, _OF_MANY))
        if parallelism > MOST_OF_MANY:
            found.append(invalid(here, parallelism, _OF_MANY))
    return found + check_success_policy(spec, path)


def _check_restart(spec: dict[str, Any], path: str) -> list[FieldError]:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    here = child(path, "template", "spec", "restartPolicy")
    if policy in (None, "", "Always"):
        return [required(here, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [unsupported(here, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        return [invalid(here, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def _check_job(job: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    spec = job.get("spec") or {}
    here = child(path, "spec")
    if spec.get("selector") is None:
        return [required(child(here, "selector"))]
    return check_matches(spec["selector"], spec, here)


def _check_template(template: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    """Each Job of a CronJob gets a selector of its own."""
    spec = template.get("spec") or {}
    found: list[FieldError] = []
    if spec.get("selector") is not None:
        found.append(invalid(child(path, "spec", "selector"), spec["selector"], "`selector` will be auto-generated"))
    if spec.get("manualSelector"):
        found.append(unsupported(child(path, "spec", "manualSelector"), True, ("nil", "false")))
    return found


overlay(BATCH + "Job", defaulter=_defaults, checks=(_check_job,))
overlay(BATCH + "JobSpec", defaulter=fill_template, checks=(_check_spec,), optional=("template",))
overlay(BATCH + "JobStatus", defaulter=drop_zero("active", "succeeded", "failed"))
overlay(BATCH + "JobTemplateSpec", defaults={"metadata": {}, "spec": {}}, checks=(_check_template,))
