"""StatefulSetSpec: defaults and rules of its own; its template and claims obey theirs."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import APPS, overlay
from holdfast.kinds.definitions.rules import (
    all_not_negative,
    count_or_percent,
    drop_zero,
    fill,
    fill_absent,
    label,
    not_negative,
    one_of,
    percent,
    portion,
)
from holdfast.kinds.definitions.template import check_selected, check_template, fill_template
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, index, invalid, required

RETENTION = ("Retain", "Delete")


def _set_defaults(stateful_set: dict[str, Any]) -> None:
    fill_absent(stateful_set, spec={}, status={})
    fill_absent(stateful_set["status"], replicas=0, availableReplicas=0)


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill_absent(spec, replicas=1, revisionHistoryLimit=10, serviceName="", updateStrategy={})
    fill(spec, podManagementPolicy="OrderedReady")
    fill_template(spec)
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
    return found + check_selected(spec, path, "statefulset") + _check_template(spec, path)


def _check_strategy(strategy: dict[str, Any], path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind in ("OnDelete", "Recreate"):
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
    if value is not None and portion(value) == 0 and (isinstance(value, int) or percent(value) is not None):
        return [invalid(path, value, "cannot be 0")]
    return count_or_percent(path, value)


def _check_template(spec: dict[str, Any], path: str) -> list[FieldError]:
    here = child(path, "template", "spec")
    found: list[FieldError] = []
    claims = [str((claim.get("metadata") or {}).get("name") or "") for claim in spec.get("volumeClaimTemplates") or []]
    for position, name in enumerate(dict.fromkeys(claims)):
        place = child(index(child(here, "volumes"), position), "name")
        found += [invalid(place, name, text) for text in names.dns1123_label(name)] if name else [required(place)]
    return found + check_template(spec, path, "StatefulSet", claims)


overlay(APPS + "StatefulSetStatus", defaulter=drop_zero("readyReplicas", "currentReplicas", "updatedReplicas"))
overlay(APPS + "StatefulSet", defaulter=_set_defaults)
overlay(APPS + "StatefulSetSpec", defaulter=_spec_defaults, checks=(_check_spec,), optional=("template",))
