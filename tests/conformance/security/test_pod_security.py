"""PodSecurity over HTTP: what is refused by default, on every way to a pod, and what is only warned of (SEC-14, SEC-50, DEF-6)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conformance.security.objects import Obj, container, named, pod
from tests.serving import Answer, Api, api_server

NS = "/api/v1/namespaces/default"
PODS = f"{NS}/pods"
LABEL = "pod-security.kubernetes.io/"
BASELINE: dict[str, tuple[Obj, str]] = {
    "privileged": (
        {"containers": [container(securityContext={"privileged": True})]},
        'privileged (container "c" must not set securityContext.privileged=true)',
    ),
    "init": (
        {"initContainers": [container("i", securityContext={"privileged": True})]},
        'privileged (container "i" must not set securityContext.privileged=true)',
    ),
    "hostPath": ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
    "host": ({"hostNetwork": True, "hostPID": True, "hostIPC": True}, "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)"),
    "port": (
        {"containers": [container(ports=[{"containerPort": 80, "hostPort": 80}])]},
        'hostPort (container "c" uses hostPort 80)',
    ),
    "capabilities": (
        {"containers": [container(securityContext={"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]}})]},
        'non-default capabilities (container "c" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add)',
    ),
    "seccomp": (
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    "apparmor": (
        {"containers": [container(securityContext={"appArmorProfile": {"type": "Unconfined"}})]},
        'forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")',
    ),
    "selinux": (
        {"securityContext": {"seLinuxOptions": {"type": "x_t", "user": "u"}}},
        'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "x_t"; user may not be set)',
    ),
    "sysctls": ({"securityContext": {"sysctls": [{"name": "kernel.x", "value": "1"}]}}, "forbidden sysctls (kernel.x)"),
    "proc": (
        {"hostUsers": False, "containers": [container(securityContext={"procMount": "Unmasked"})]},
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    "probe": (
        {"containers": [container(livenessProbe={"httpGet": {"port": 80, "host": "169.254.169.254"}})]},
        'probe or lifecycle host (container "c" uses probe or lifecycle host "169.254.169.254")',
    ),
}
HARDENED: Obj = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [container(securityContext={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}})],
}
PLAIN_WARNING = (
    'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set'
    ' securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set'
    ' securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set'
    ' securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type'
    ' to "RuntimeDefault" or "Localhost")'
)


@pytest.fixture
async def api(tmp_path: Any) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as served:
        yield served


def warned(answer: Answer) -> list[str]:
    """The texts of a Warning header: code, agent, quoted text."""
    texts = [re.fullmatch(r'299 - "(.*)"', header) for header in answer.warnings]
    return [found[1].replace('\\"', '"') for found in texts if found]


async def label(api: Api, **levels: str) -> Answer:
    labels = {LABEL + mode.replace("_", "-"): level or None for mode, level in levels.items()}
    return await api.patch("/api/v1/namespaces/default", {"metadata": {"labels": labels}})


@pytest.mark.parametrize("case", BASELINE)
async def test_sec_14_baseline_is_enforced_by_default(api: Api, case: str) -> None:
    spec, text = BASELINE[case]
    body = pod("x", **spec)
    for query in ("", "?dryRun=All"):
        refused = await api.post(PODS + query, body)
        assert refused.status == 403
        assert refused.body["message"].startswith(f'pods "x" is forbidden: violates PodSecurity "baseline:latest": {text}; ')
        assert "pod-security.kubernetes.io/enforce=privileged on namespace default" in refused.body["message"]
    apply = await api.patch(f"{PODS}/x?fieldManager=m", body, "application/apply-patch+yaml")
    assert apply.status == 403
    assert (await api.get(f"{PODS}/x")).status == 404
    await label(api, enforce="privileged")
    assert (await api.post(PODS, body)).status == 201


async def test_sec_50_an_update_that_changes_what_runs_is_looked_at_again(api: Api) -> None:
    await label(api, enforce="privileged")
    assert (await api.post(PODS, pod("x", containers=[container(securityContext={"privileged": True})]))).status == 201
    await label(api, enforce="baseline")
    present = (await api.get(f"{PODS}/x")).body
    changes: dict[str, Any] = {
        "application/merge-patch+json": {"spec": {"containers": [{**present["spec"]["containers"][0], "image": "i:2"}]}},
        "application/strategic-merge-patch+json": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}},
        "application/json-patch+json": [{"op": "replace", "path": "/spec/containers/0/image", "value": "i:2"}],
    }
    for kind, change in changes.items():
        assert (await api.patch(f"{PODS}/x", change, kind)).status == 403, kind
    present["spec"]["containers"][0]["image"] = "i:2"
    assert (await api.put(f"{PODS}/x", present)).status == 403
    assert (await api.put(f"{PODS}/x?dryRun=All", present)).status == 403
    assert (await api.patch(f"{PODS}/x", {"metadata": {"labels": {"a": "b"}}})).status == 200


async def test_def_6_restricted_is_warned_of_and_kube_system_exempt(api: Api) -> None:
    made = await api.post(PODS, pod("plain"))
    assert (made.status, warned(made)) == (201, [PLAIN_WARNING])
    assert warned(await api.post(PODS, pod("hardened", **HARDENED))) == []
    free = await api.post("/api/v1/namespaces/kube-system/pods", pod("host", hostNetwork=True))
    assert (free.status, free.warnings) == (201, [])


async def test_def_6_a_namespace_says_what_it_wants(api: Api) -> None:
    await label(api, enforce="restricted")
    refused = await api.post(PODS, pod("x"))
    assert refused.status == 403
    assert 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false' in refused.body["message"]
    assert (await api.post(PODS, pod("x", **HARDENED))).status == 201
    await label(api, enforce="baseline", enforce_version="v1.33", warn="privileged")
    probed = await api.post(PODS, pod("old", **BASELINE["probe"][0]))
    assert (probed.status, probed.warnings) == (201, [])
    wrong = await label(api, enforce="bad", enforce_version="1.2")
    assert wrong.status == 422
    message = wrong.body["message"]
    assert f'metadata.labels[{LABEL}enforce]: Invalid value: "bad": must be one of privileged, baseline, restricted' in message
    assert f'metadata.labels[{LABEL}enforce-version]: Invalid value: "1.2": must be "latest" or "v1.x"' in message


async def test_def_6_a_stricter_label_names_the_pods_that_would_not_pass(api: Api) -> None:
    for name in ("b", "a"):
        await api.post(PODS, pod(name))
    await api.post(PODS, pod("fine", **HARDENED))
    stricter = await label(api, enforce="restricted")
    reasons = "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
    first = 'existing pods in namespace "default" violate the new PodSecurity enforce level "restricted:latest"'
    assert (stricter.status, warned(stricter)) == (200, [first, f"a (and 1 other pod): {reasons}"])
    assert (await label(api, enforce="baseline")).warnings == []


async def test_def_6_templates_are_warned_of_and_their_pods_refused(api: Api) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"hostPID": True, "containers": [container()]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "serviceName": "s", "template": template, "replicas": 0}
    body = named("StatefulSet", "w", "apps/v1", spec=spec)
    sets = "/apis/apps/v1/namespaces/default/statefulsets"
    for query in ("?dryRun=All", ""):
        made = await api.post(sets + query, body)
        assert made.status == 201
        assert any(
            text.startswith('would violate PodSecurity "restricted:latest": host namespaces (hostPID=true), ') for text in warned(made)
        )
    patched = await api.patch(f"{sets}/w", {"spec": {"template": {"metadata": {"annotations": {"x": "y"}}}}})
    assert any("host namespaces" in text for text in warned(patched))
    scaled = await api.patch(f"{sets}/w/scale", {"spec": {"replicas": 0}})
    assert scaled.status == 200
    assert not warned(scaled)  # as upstream: who scales has not changed what a pod is
