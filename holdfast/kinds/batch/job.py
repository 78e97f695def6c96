"""Job: pods that run until enough of them have succeeded."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.apps.replicas import STATUS, TEMPLATE, counts, selector_cell
from holdfast.kinds.columns import AGE, NAME, containers
from holdfast.kinds.core import outdated
from holdfast.kinds.definitions.overlay import BATCH
from holdfast.kinds.definitions.rules import IMMUTABLE, immutable
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import JOBS
from holdfast.kinds.schemas import schema_of
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta, names, selectors
from holdfast.machinery.fielderror import OMITTED, FieldError, invalid, required
from holdfast.machinery.tables import human_duration

UID, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
LEGACY = {UID: "controller-uid", NAME_LABEL: "job-name"}
_FIXED = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_FINAL = ("Failed", "Complete", "FailureTarget")
_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is not None:
        return
    new["status"] = {}
    spec, metadata = new["spec"], new["metadata"]
    if spec.get("manualSelector"):
        return
    template = spec["template"]["metadata"]
    labels = template.get("labels") or {}
    inherited = (metadata.get("labels") or {}) == labels
    own = {UID: metadata["uid"], NAME_LABEL: metadata.get("name", "")}
    template["labels"] = {**{label: own[key] for key, legacy in LEGACY.items() for label in (key, legacy)}, **labels}
    selector = spec.setdefault("selector", {})
    selector["matchLabels"] = {UID: own[UID], **(selector.get("matchLabels") or {})}
    if inherited:
        metadata["labels"] = dict(template["labels"])


def _check_generated(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """A selector that the server makes matches this job's pods and no others."""
    spec, metadata = new["spec"], new["metadata"]
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    own = {UID: metadata["uid"], NAME_LABEL: metadata.get("name", "")}
    expected = {label: own[key] for key, legacy in LEGACY.items() for label in (key, legacy)}
    here = "spec.template.metadata.labels"
    found: list[FieldError] = []
    for label, value in expected.items():
        if label not in labels:
            found.append(required(f"{here}[{label}]", f"must be '{value}'"))
        elif labels[label] != value:
            found.append(invalid(f"{here}[{label}]", labels, f"must be '{value}'"))
    if not selectors.from_map(spec["selector"].get("matchLabels") or {}).matches(expected):
        found.append(invalid("spec.selector", spec["selector"], "`selector` not auto-generated"))
    return found


def _check_name(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """The pods of an indexed job are named after it: hosts must be able to bear the last one's name."""
    spec = new["spec"]
    if old is not None or spec.get("completionMode") != "Indexed" or (spec.get("completions") or 0) < 1:
        return []
    host = f"{meta.name(new)}-{spec['completions'] - 1}"
    if not names.dns1123_label(host):
        return []
    return [invalid("metadata.name", meta.name(new), f"will not able to create pod with invalid DNS label: {host}")]


def _check_update(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is None:
        return []
    spec, before = new["spec"], old["spec"]
    found: list[FieldError] = []
    if spec.get("completions") != before.get("completions"):
        if spec.get("completionMode") != "Indexed":
            found.append(invalid("spec.completions", spec.get("completions"), IMMUTABLE))
        elif spec.get("completions") is not None and spec["completions"] != spec.get("parallelism"):
            found.append(invalid("spec.completions", spec["completions"], "can only be modified in tandem with spec.parallelism"))
    if _fixed_template(spec["template"], before["template"], loose=_waits(old)) != spec["template"]:
        found.append(invalid("spec.template", spec["template"], IMMUTABLE))
    return found + immutable(spec, before, "spec", _FIXED)


def _waits(old: Obj) -> bool:
    """Suspended and never started: a queue may still say where its pods should go."""
    return bool(old["spec"].get("suspend")) and not (old.get("status") or {}).get("startTime")


def _fixed_template(new: Obj, old: Obj, *, loose: bool) -> Obj:
    """The template as it must be: the old one, except for what may be changed while the job waits."""
    if not loose:
        return old
    spec, metadata = dict(old["spec"]), dict(old.get("metadata") or {})
    for place, fields, source in ((spec, _SCHEDULING, new["spec"]), (metadata, ("labels", "annotations"), new.get("metadata") or {})):
        for field in fields:
            place.pop(field, None)
            place |= {field: source[field]} if field in source else {}
    affinity = {k: v for k, v in (spec.pop("affinity", None) or {}).items() if k != "nodeAffinity"}
    wanted = new["spec"].get("affinity")
    if wanted is not None and "nodeAffinity" in wanted:
        affinity["nodeAffinity"] = wanted["nodeAffinity"]
    if affinity or wanted is not None:
        spec["affinity"] = affinity
    return {**old, "metadata": metadata, "spec": spec}


def _check_status(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    status, before = new.get("status") or {}, (old or {}).get("status") or {}
    ended = [kind for kind in _FINAL if old is not None and meta.condition_true(old, kind)]
    found = [
        invalid("status.conditions", OMITTED, f"cannot disable the terminal {kind}=True condition")
        for kind in ended
        if not meta.condition_true(new, kind)
    ]
    spec = new["spec"]
    shrinks = spec.get("completions") == spec.get("parallelism")  # an indexed job that may lose indexes which were done
    found += [
        invalid(f"status.{field}", status.get(field) or 0, f"cannot decrease the {field} counter")
        for field in (("failed",) if shrinks else ("failed", "succeeded"))
        if (status.get(field) or 0) < (before.get(field) or 0)
    ]
    done, was = status.get("completionTime"), before.get("completionTime")
    if done and was and done != was:
        found.append(invalid("status.completionTime", done, "completionTime cannot be mutated"))
    if before.get("startTime") and before["startTime"] != status.get("startTime") and not new["spec"].get("suspend"):
        found.append(required("status.startTime", "startTime cannot be removed for unsuspended job"))
    return found


def _state(job: Obj, _now: float) -> str:
    if meta.condition_true(job, "Complete"):
        return "Complete"
    if meta.condition_true(job, "Failed"):
        return "Failed"
    if meta.is_terminating(job):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if meta.condition_true(job, kind):
            return kind
    return "Running"


def _completions(job: Obj, _now: float) -> str:
    spec, done = job["spec"], (job.get("status") or {}).get("succeeded") or 0
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallel = spec.get("parallelism") or 0
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _duration(job: Obj, now: float) -> str:
    status = job.get("status") or {}
    if not status.get("startTime"):
        return ""
    end = parse_rfc3339(status["completionTime"]) if status.get("completionTime") else now
    return human_duration(end - parse_rfc3339(status["startTime"]))


def _succeeded(job: Obj) -> Any:
    return str((job.get("status") or {}).get("succeeded") or 0)


KIND = Kind(
    resource=JOBS,
    schema=schema_of(BATCH + "Job"),
    singular="job",
    categories=("all",),
    storage="jobs",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    checks=(_check_generated, _check_name, _check_update),
    status_checks=(counts(("active", "succeeded", "failed", "ready", "terminating")), _check_status),
    subresources={"status": STATUS},
    warnings=(outdated.in_pods("spec", "template", "spec"),),
    columns=(
        NAME,
        Column("Status", _state, description="How far it is, in a word."),
        Column("Completions", _completions, description="Succeeded pods of those wanted."),
        Column("Duration", _duration, description="How long it has run, or ran."),
        AGE,
        *containers(TEMPLATE),
        selector_cell(selectors.from_object),
    ),
    selectable={"status.successful": _succeeded},
    default_propagation="Orphan",
    delete_warning="child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them"
    " or set propagationPolicy=Orphan to suppress this warning",
)
