"""Rules of Deployments, DaemonSets, Jobs, CronJobs, budgets, quotas and autoscalers, in upstream's words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from holdfast.kinds.autoscaling.conversion import to_v1, to_v2
from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.definitions.job_policies import count_indexes
from holdfast.kinds.kind import Resource
from holdfast.kinds.resources import (
    AUTOSCALERS,
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    LIMITRANGES,
    PODDISRUPTIONBUDGETS,
    PODTEMPLATES,
    REPLICATIONCONTROLLERS,
    RESOURCEQUOTAS,
)
from holdfast.machinery.default import apply_defaults
from holdfast.machinery.validate import validate

TABLE = builtin_table()
Obj = dict[str, Any]


def faults(resource: Resource, spec: Obj, **more: Any) -> set[str]:
    kind = TABLE.of(resource)
    metadata = {"name": "x", "namespace": "ns", "uid": "u"}
    new = {"kind": resource.kind, "metadata": metadata, "spec": copy.deepcopy(spec)} | more
    apply_defaults(kind.schema, new)
    for prepare in kind.prepare:
        prepare(new, None)
    found = validate(kind.schema, new, None) + [error for check in kind.checks for error in check(new, None, "")]
    return {str(error) for error in found}


def template(**spec: Any) -> Obj:
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]} | spec}


def selected(**spec: Any) -> Obj:
    return {"selector": {"matchLabels": {"app": "a"}}, "template": template()} | spec


def ends(**spec: Any) -> Obj:
    return {"template": template(restartPolicy="Never")} | spec


def rolling(**amounts: Any) -> Obj:
    return {"type": "RollingUpdate", "rollingUpdate": amounts}


_SPEC = "spec."
_NO_SELECTOR = {"template": template()}
_MISMATCH = 'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`'
_UNSOUND = {"matchExpressions": [{"key": "a", "operator": "Near"}]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (selected(), set()),
        (_NO_SELECTOR, {"spec.selector: Required value", _MISMATCH}),
        (selected(selector={}), {"spec.selector: Invalid value: {}: empty selector is invalid for deployment"}),
        (
            selected(selector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
            {
                'spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"In"}]}: invalid label selector',
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            },
        ),
        (
            selected(strategy={"type": "Recreate", "rollingUpdate": {}}),
            {"spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"},
        ),
        (
            selected(strategy={"type": "Never"}),
            {'spec.strategy: Unsupported value: {"Type":"Never","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"'},
        ),
        (
            selected(strategy=rolling(maxUnavailable="0%", maxSurge=0)),
            {'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0'},
        ),
        (
            selected(strategy=rolling(maxUnavailable="150%", maxSurge="150%")),
            {'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be greater than 100%'},
        ),
        (
            selected(template=template(restartPolicy="Never", activeDeadlineSeconds=5)),
            {
                'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
            },
        ),
        (
            selected(progressDeadlineSeconds=5, minReadySeconds=5),
            {"spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"},
        ),
    ],
)
def test_deployments(spec: Obj, expected: set[str]) -> None:
    assert faults(DEPLOYMENTS, spec) == expected


def test_selectors_without_keys_are_no_crash() -> None:
    broken = {"matchExpressions": [{}, {"operator": "In", "values": ["a"]}, {"key": "a"}]}
    for resource in (DEPLOYMENTS, DAEMONSETS):
        assert any(fault.startswith("spec.selector") for fault in faults(resource, selected(selector=broken)))
    assert any("not a valid selector operator" in fault for fault in faults(DAEMONSETS, selected(selector=_UNSOUND)))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (rolling(maxUnavailable=0, maxSurge="10%"), set()),
        ({"type": "OnDelete"}, set()),
        (
            rolling(maxUnavailable=1, maxSurge=1),
            {"spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"},
        ),
        (
            rolling(maxUnavailable=0),
            {"spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"},
        ),
        (
            {"type": "X"},
            {
                'spec.updateStrategy: Unsupported value: {"Type":"X","RollingUpdate":null}: supported'
                ' values: "RollingUpdate", "OnDelete"'
            },
        ),
    ],
)
def test_daemon_sets(strategy: Obj, expected: set[str]) -> None:
    assert faults(DAEMONSETS, selected(updateStrategy=strategy)) == expected


def test_replication_controllers() -> None:
    assert faults(REPLICATIONCONTROLLERS, {"template": template()}) == set()
    assert faults(REPLICATIONCONTROLLERS, {}) == {"spec.selector: Required value", "spec.template: Required value"}
    assert faults(REPLICATIONCONTROLLERS, {"selector": {"app": "b"}, "template": template()}) == {_MISMATCH}


def test_a_template_names_its_own_volumes_and_no_ephemeral_containers() -> None:
    mount = {"name": "v", "mountPath": "/v"}
    spec = {"containers": [{"name": "c", "image": "i", "volumeMounts": [mount]}]}
    assert faults(PODTEMPLATES, {}, template={"spec": spec}) == {'template.spec.containers[0].volumeMounts[0].name: Not found: "v"'}
    guest = {"ephemeralContainers": [{"name": "d", "image": "i"}]}
    (fault,) = faults(JOBS, ends(template=template(restartPolicy="Never", **guest)))
    assert fault == "spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"


def indexed(**spec: Any) -> Obj:
    return ends(completionMode="Indexed", completions=3, **spec)


def policy(**rule: Any) -> Obj:
    return ends(podFailurePolicy={"rules": [rule]})


_RULE = "spec.podFailurePolicy.rules[0]"
_CONDITION = [{"type": "DisruptionTarget"}]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ends(), set()),
        (ends(completionMode="Wild"), {'spec.completionMode: Unsupported value: "Wild": supported values: "NonIndexed", "Indexed"'}),
        (ends(completionMode="Indexed", parallelism=1), {"spec.completions: Required value: when completion mode is Indexed"}),
        (
            indexed(maxFailedIndexes=4, backoffLimitPerIndex=1),
            {"spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions"},
        ),
        (indexed(maxFailedIndexes=1), {"spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"}),
        (ends(backoffLimitPerIndex=1), {"spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"}),
        (ends(managedBy="me"), {'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")'}),
        (
            ends(podReplacementPolicy="X"),
            {'spec.podReplacementPolicy: Unsupported value: "X": supported values: "Failed", "TerminatingOrFailed"'},
        ),
        (
            ends(template=template(restartPolicy="OnFailure"), podFailurePolicy={"rules": []}),
            {
                'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when'
                " podFailurePolicy is specified"
            },
        ),
        (policy(action="Ignore", onPodConditions=_CONDITION), set()),
        (policy(action="Ignore"), {f"{_RULE}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"}),
        (
            policy(action="FailIndex", onPodConditions=_CONDITION),
            {f'{_RULE}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set'},
        ),
        (
            policy(action="Count", onExitCodes={"operator": "In", "values": [3, 0, 3], "containerName": "z"}),
            {
                f"{_RULE}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                f"{_RULE}.onExitCodes.values[2]: Duplicate value: 3",
                f"{_RULE}.onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
                f'{_RULE}.onExitCodes.containerName: Invalid value: "z": must be one of the container or initContainer names in the pod'
                " template",
            },
        ),
        (
            ends(podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": _CONDITION}] * 21}),
            {"spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items"},
        ),
        (
            indexed(successPolicy={"rules": [{"succeededIndexes": "0-1", "succeededCount": 3}]}),
            {
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of"
                " indexes in the specified succeededIndexes field)"
            },
        ),
        (
            indexed(successPolicy={"rules": [{}]}),
            {"spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified"},
        ),
    ],
)
def test_jobs(spec: Obj, expected: set[str]) -> None:
    assert faults(JOBS, spec) == expected


def test_indexes_rise_and_are_of_the_job() -> None:
    assert count_indexes("0-2,5,7-8", 10) == 6
    for text in ("a", "1,,2", "3,2", "2-1", "2-2", "9,10", "-1", "0-99999999999999999999"):
        with pytest.raises(ValueError, match=r"index|order"):
            count_indexes(text, 10)


def cron(**spec: Any) -> Obj:
    return {"schedule": "* * * * *", "jobTemplate": {"spec": ends()}} | spec


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (cron(timeZone="Europe/Berlin"), set()),
        (cron(timeZone="America"), {'spec.timeZone: Invalid value: "America": unknown time zone America'}),
        (cron(timeZone="../etc/passwd"), {'spec.timeZone: Invalid value: "../etc/passwd": unknown time zone ../etc/passwd'}),
        (cron(timeZone=""), {'spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string'}),
        (cron(schedule=""), {"spec.schedule: Required value"}),
        (
            cron(schedule="TZ=UTC * * * * *"),
            {'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead'},
        ),
        (cron(failedJobsHistoryLimit=-1), {"spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0"}),
        (
            cron(jobTemplate={"spec": ends(manualSelector=True, selector={})}),
            {
                "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
                'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"',
            },
        ),
    ],
)
def test_cron_jobs(spec: Obj, expected: set[str]) -> None:
    assert faults(CRONJOBS, spec) == expected


def test_budgets() -> None:
    assert faults(PODDISRUPTIONBUDGETS, {"minAvailable": "50%"}) == set()
    shown = '{"MinAvailable":1,"Selector":null,"MaxUnavailable":1,"UnhealthyPodEvictionPolicy":null}'
    assert faults(PODDISRUPTIONBUDGETS, {"minAvailable": 1, "maxUnavailable": 1}) == {
        f"spec: Invalid value: {shown}: minAvailable and maxUnavailable cannot be both set"
    }


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "Pod", "max": {"cpu": "1"}}, set()),
        ({"type": "Pod", "default": {"cpu": "1"}}, {"spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"}),
        ({"type": "Box"}, {'spec.limits[0].type: Invalid value: "Box": must be a standard limit type or fully qualified'}),
        (
            {"type": "PersistentVolumeClaim"},
            {"spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided"},
        ),
        (
            {"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}},
            {'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000'},
        ),
        (
            {"type": "Container", "min": {"cpu": "x"}, "max": {"cpu": "1"}},
            {
                'spec.limits[0].min[cpu]: Invalid value: "x": quantities must match the regular expression'
                " '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            },
        ),
    ],
)
def test_limit_ranges(item: Obj, expected: set[str]) -> None:
    assert faults(LIMITRANGES, {"limits": [item]}) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"hard": {"count/widgets.example.com": "5", "requests.storage": "5Gi", "requests.hugepages-2Mi": "4Mi"}}, set()),
        ({"hard": {"pods": "1500m"}}, {'spec.hard[pods]: Invalid value: "1500m": must be an integer'}),
        (
            {"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]},
            {'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'},
        ),
        (
            {"hard": {"secrets": "1"}, "scopes": ["BestEffort"]},
            {'spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource'},
        ),
        (
            {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}},
            {
                "spec.scopeSelector.values: Required value: must be atleast one value when `operator` is 'In' or 'NotIn' for scope"
                " selector"
            },
        ),
    ],
)
def test_quotas(spec: Obj, expected: set[str]) -> None:
    assert faults(RESOURCEQUOTAS, spec) == expected


TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}


def scaled(**spec: Any) -> Obj:
    return {"scaleTargetRef": TARGET, "maxReplicas": 2} | spec


def metric(kind: str, source: str, **of: Any) -> Obj:
    return scaled(metrics=[{"type": kind, source: of}])


_M = "spec.metrics[0]"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (scaled(), set()),
        (scaled(scaleTargetRef={"apiVersion": "v1", "kind": "ReplicationController", "name": "r"}), set()),
        (scaled(minReplicas=0), {"spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"}),
        (scaled(metrics=[{"type": "Pods"}]), {f"{_M}.pods: Required value: must populate information for the given metric source"}),
        (
            metric("Resource", "resource", name="cpu", target={"type": "Utilization"}),
            {f"{_M}.resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"},
        ),
        (
            metric("Pods", "pods", metric={"name": "a/b"}, target={"type": "AverageValue", "averageValue": "0"}),
            {
                f"{_M}.pods.metric.name: Invalid value: \"a/b\": may not contain '/'",
                f'{_M}.pods.target.averageValue: Invalid value: "0": must be positive',
            },
        ),
        (
            metric("External", "external", target={"type": "Value", "value": "1", "averageValue": "1"}),
            {
                f"{_M}.external.metric.name: Required value: must specify a metric name",
                f"{_M}.external.target.value: Forbidden: may not set both a target value for metric and a per-pod target",
            },
        ),
        (
            metric("ContainerResource", "containerResource", target={"type": "X"}),
            {
                f"{_M}.containerResource.name: Required value: must specify a resource name",
                f"{_M}.containerResource.container: Required value: must specify a container",
                f'{_M}.containerResource.target.type: Invalid value: "X": must be either Utilization, Value, or AverageValue',
                f"{_M}.containerResource.target.averageUtilization: Required value: must set either a target raw value or a target"
                " utilization",
            },
        ),
        (
            scaled(behavior={"scaleUp": {"stabilizationWindowSeconds": 4000, "policies": [{"type": "X", "value": 1}]}}),
            {
                "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
                'spec.behavior.scaleUp.policies[0].type: Unsupported value: "X": supported values: "Percent", "Pods"',
                "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 0: must be greater than zero",
            },
        ),
    ],
)
def test_autoscalers(spec: Obj, expected: set[str]) -> None:
    assert faults(AUTOSCALERS, spec) == expected


def test_the_older_form_of_an_autoscaler_loses_nothing() -> None:
    target = {"type": "Value", "value": "3"}
    described = {"describedObject": TARGET, "metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}}}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    memory = {"name": "memory", "container": "c", "target": {"type": "AverageValue", "averageValue": "1Gi"}}
    spec = scaled(
        metrics=[
            {"type": "Object", "object": described | {"target": target}},
            {"type": "ContainerResource", "containerResource": memory},
            cpu,
        ],
        behavior={"scaleDown": {"selectPolicy": "Disabled"}},
    )
    current = [
        {"type": "Object", "object": described | {"current": {"value": "2"}}},
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40, "averageValue": "1"}}},
    ]
    status = {"currentReplicas": 1, "desiredReplicas": 2, "currentMetrics": current, "conditions": [{"type": "A", "status": "True"}]}
    newer = {"apiVersion": "autoscaling/v2", "metadata": {"name": "x", "annotations": {"mine": "y"}}, "spec": spec, "status": status}
    older = to_v1(newer)
    assert older["status"] == {"currentReplicas": 1, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 40}
    assert to_v2(older) == newer
