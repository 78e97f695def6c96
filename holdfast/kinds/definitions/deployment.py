"""DeploymentSpec, ReplicaSetSpec and ReplicationControllerSpec: a number of equal pods; and the first one's strategy."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import APPS, CORE, overlay
from holdfast.kinds.definitions.rules import (
    all_not_negative,
    count_or_percent,
    drop_zero,
    fill,
    fill_absent,
    portion,
    unsupported,
)
from holdfast.kinds.definitions.template import check_selected, check_template, fill_template
from holdfast.machinery import selectors
from holdfast.machinery.fielderror import FieldError, child, forbidden, invalid, required

STRATEGIES = ("Recreate", "RollingUpdate")


def _deployment_defaults(deployment: dict[str, Any]) -> None:
    fill_absent(deployment, spec={}, status={})


def _deployment_spec_defaults(spec: dict[str, Any]) -> None:
    fill_absent(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    fill_template(spec)
    strategy = spec["strategy"]
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill_absent(strategy, rollingUpdate={})
        fill_absent(strategy["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")


def _check_deployment(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = all_not_negative(spec, path, ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"))
    found += check_selected(spec, path, "deployment", "invalid label selector") + check_template(spec, path, "ReplicaSet")
    found += _check_strategy(spec.get("strategy") or {}, child(path, "strategy"))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        found.append(invalid(child(path, "progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds"))
    return found


def _check_strategy(strategy: dict[str, Any], path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    here = child(path, "rollingUpdate")
    if kind not in STRATEGIES:
        return [unsupported(path, {"Type": kind, "RollingUpdate": rolling}, STRATEGIES)]
    if kind == "Recreate":
        text = "may not be specified when strategy `type` is 'Recreate'"
        return [] if rolling is None else [forbidden(here, text)]
    rolling = rolling or {}
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    place = child(here, "maxUnavailable")
    found = count_or_percent(place, unavailable)
    # More new pods than wanted ones are no danger: only the share of absent ones is bounded.
    found += [e for e in count_or_percent(child(here, "maxSurge"), surge) if not portion(surge) > 100]
    if portion(unavailable) == 0 and portion(surge) == 0:
        found.append(invalid(place, unavailable, "may not be 0 when `maxSurge` is 0"))
    return found


def _set_defaults(replica_set: dict[str, Any]) -> None:
    fill_absent(replica_set, spec={}, status={})
    fill_absent(replica_set["status"], replicas=0)


def _set_spec_defaults(spec: dict[str, Any]) -> None:
    fill_absent(spec, replicas=1)
    fill_template(spec)


def _check_set(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = all_not_negative(spec, path, ("replicas", "minReadySeconds"))
    return found + check_selected(spec, path, "replicaset", "invalid label selector") + check_template(spec, path, "ReplicaSet")


def _controller_defaults(controller: dict[str, Any]) -> None:
    """A controller without labels or selector is named after its template."""
    _set_defaults(controller)
    spec = controller["spec"]
    fill_absent(spec, replicas=1)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        fill_absent(spec, selector=labels)
        fill_absent(controller["metadata"], labels=labels)


def _check_controller(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = all_not_negative(spec, path, ("replicas", "minReadySeconds"))
    if not spec.get("selector"):
        found.append(required(child(path, "selector")))
    if spec.get("template") is None:
        return [*found, required(child(path, "template"))]
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if spec.get("selector") and not selectors.from_map(spec["selector"]).matches(labels or {}):
        text = "`selector` does not match template `labels`"
        found.append(invalid(child(path, "template", "metadata", "labels"), labels, text))
    return found + check_template(spec, path, "ReplicationController")


overlay(APPS + "Deployment", defaulter=_deployment_defaults)
overlay(APPS + "DeploymentSpec", defaulter=_deployment_spec_defaults, checks=(_check_deployment,), optional=("template",))
overlay(
    APPS + "DeploymentStatus",
    defaulter=drop_zero("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"),
)
overlay(APPS + "ReplicaSet", defaulter=_set_defaults)
overlay(APPS + "ReplicaSetSpec", defaulter=_set_spec_defaults, checks=(_check_set,))
overlay(CORE + "ReplicationController", defaulter=_controller_defaults)
overlay(CORE + "ReplicationControllerSpec", checks=(_check_controller,))
for _status in (APPS + "ReplicaSetStatus", CORE + "ReplicationControllerStatus"):
    overlay(_status, defaulter=drop_zero("fullyLabeledReplicas", "readyReplicas", "availableReplicas"))
