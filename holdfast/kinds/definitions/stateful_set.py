"""StatefulSetSpec: defaults and rules of its own; its template and claims obey theirs."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import APPS, CORE, overlay
from holdfast.kinds.definitions.pod_spec import check_mounts
from holdfast.kinds.definitions.rules import all_not_negative, fill, fill_absent, label, not_negative, one_of, unsupported
from holdfast.machinery import names, selectors
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, invalid, required

RETENTION = ("Retain", "Delete")


def _set_defaults(stateful_set: dict[str, Any]) -> None:
    fill_absent(stateful_set, spec={}, status={})
    fill_absent(stateful_set["status"], replicas=0, availableReplicas=0)


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill_absent(spec, replicas=1, revisionHistoryLimit=10, serviceName="", template={}, updateStrategy={})
    fill(spec, podManagementPolicy="OrderedReady")
    fill_absent(spec["template"], metadata={}, spec={})
    strategy = spec["updateStrategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        fill_absent(strategy, rollingUpdate={})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        fill_absent(strategy["rollingUpdate"], partition=0)
    fill_absent(spec, persistentVolumeClaimRetentionPolicy={})
    fill(spec["persistentVolumeClaimRetentionPolicy"], whenDeleted="Retain", whenScaled="Retain")
    if spec.get("ordinals") is not None:
        fill_absent(spec["ordinals"], start=0)
    for claim in spec.get("volumeClaimTemplates") or []:
        fill(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        fill_absent(claim, metadata={})


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    if spec.get("podManagementPolicy") not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        found.append(invalid(child(path, "podManagementPolicy"), spec.get("podManagementPolicy"), text))
    found += _check_strategy(spec.get("updateStrategy") or {}, child(path, "updateStrategy"))
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        found += one_of(child(path, "persistentVolumeClaimRetentionPolicy", name), retention.get(name), RETENTION)
    found += all_not_negative(spec, path, ("replicas", "minReadySeconds"))
    found += not_negative(child(path, "ordinals", "start"), (spec.get("ordinals") or {}).get("start"))
    if spec.get("serviceName") and (not isinstance(old, dict) or old.get("serviceName") != spec["serviceName"]):
        found += label(child(path, "serviceName"), spec["serviceName"])
    return found + _check_selector(spec, path) + _check_template(spec, path)


def _check_strategy(strategy: dict[str, Any], path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        if rolling is None:
            return []
        shown = {"Partition": rolling.get("partition"), "MaxUnavailable": rolling.get("maxUnavailable")}
        return [invalid(child(path, "rollingUpdate"), shown, "only allowed for updateStrategy 'RollingUpdate'")]
    if kind != "RollingUpdate":
        return [invalid(path, {"Type": kind, "RollingUpdate": rolling}, "must be 'RollingUpdate' or 'OnDelete'")]
    here = child(path, "rollingUpdate")
    found = not_negative(child(here, "partition"), (rolling or {}).get("partition"))
    return found + _check_unavailable((rolling or {}).get("maxUnavailable"), child(here, "maxUnavailable"))


def _check_unavailable(value: Any, path: str) -> list[FieldError]:
    if value is None:
        return []
    if isinstance(value, int):
        return [invalid(path, value, "cannot be 0")] if value == 0 else not_negative(path, value)
    digits = str(value).removesuffix("%")
    if not str(value).endswith("%") or not digits.isdigit():
        text = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for"
        return [invalid(path, value, f"{text} validation is '[0-9]+%')")]
    if int(digits) == 0:
        return [invalid(path, value, "cannot be 0")]
    return [invalid(path, value, "must not be greater than 100%")] if int(digits) > 100 else []


def _check_selector(spec: dict[str, Any], path: str) -> list[FieldError]:
    selector = spec.get("selector")
    found: list[FieldError] = []
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return [invalid(child(path, "selector"), {}, "empty selector is invalid for statefulset")]
    if any(e.get("operator") not in ("In", "NotIn", "Exists", "DoesNotExist") for e in (selector or {}).get("matchExpressions") or []):
        return [invalid(child(path, "selector"), selector, "")]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if not selectors.from_object(selector).matches(labels or {}):
        here = child(path, "template", "metadata", "labels")
        found.append(invalid(here, labels, "`selector` does not match template `labels`"))
    return found


def _check_template(spec: dict[str, Any], path: str) -> list[FieldError]:
    template = (spec.get("template") or {}).get("spec") or {}
    here = child(path, "template", "spec")
    found: list[FieldError] = []
    claims = [str((claim.get("metadata") or {}).get("name") or "") for claim in spec.get("volumeClaimTemplates") or []]
    for position, name in enumerate(dict.fromkeys(claims)):
        place = child(index(child(here, "volumes"), position), "name")
        found += [invalid(place, name, text) for text in names.dns1123_label(name)] if name else [required(place)]
    found += check_mounts(template, here, claims)
    if template.get("restartPolicy") not in (None, "Always"):
        found.append(unsupported(child(here, "restartPolicy"), template["restartPolicy"], ("Always",)))
    if template.get("activeDeadlineSeconds") is not None:
        text = "activeDeadlineSeconds in StatefulSet is not Supported"
        found.append(forbidden(child(here, "activeDeadlineSeconds"), text))
    return found


def _status_defaults(status: dict[str, Any]) -> None:
    """Counts that upstream leaves out while they are zero."""
    for name in ("readyReplicas", "currentReplicas", "updatedReplicas"):
        if status.get(name) == 0:
            del status[name]


overlay(APPS + "StatefulSetStatus", defaulter=_status_defaults)
overlay(APPS + "StatefulSet", defaulter=_set_defaults)
overlay(APPS + "StatefulSetSpec", defaulter=_spec_defaults, checks=(_check_spec,), optional=("template",))
overlay(CORE + "PodTemplateSpec", defaults={"metadata": {}})
