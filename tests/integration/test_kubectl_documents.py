"""What stock kubectl does with discovery and OpenAPI: explain, validate, diff, prune. On an API server without a node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kubectl import Kubectl, clients, manifest
from tests.served import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module", params=clients(), ids=lambda path: Path(path).name)
def k(request: pytest.FixtureRequest, server: Served) -> Kubectl:
    kubectl = Kubectl(request.param, server, f"documents-{clients().index(request.param)}")
    kubectl("create", "namespace", kubectl.namespace)
    return kubectl


def config_map(name: str, value: str = "1", **labels: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": value}}


def together(*objects: dict[str, object]) -> dict[str, object]:
    """One document, which every kubectl reads alike."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def mistyped(name: str) -> dict[str, object]:
    return {**config_map(name), "dada": {"a": "1"}}


def test_explain_every_kind(k: Kubectl) -> None:
    listed = [line.split() for line in k("api-resources", "--no-headers").splitlines()]
    kinds = [(line[0], line[-3]) for line in listed]
    assert len(kinds) > 38
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda kind: k("explain", kind[0], f"--api-version={kind[1]}", "--recursive"), kinds))
    for kind, text in zip(kinds, told, strict=True):
        assert text.startswith(("KIND:", "GROUP:")), kind
        fields = text.partition("FIELDS:")[2].split()
        assert fields[fields.index("apiVersion") + 1] == "<string>", kind


def test_explain_a_field_with_its_description(k: Kubectl) -> None:
    told = k("explain", "sts.spec.replicas")
    assert "replicas is the desired number of replicas" in told
    assert "<integer>" in told
    assert "containerPort" in k("explain", "pod.spec.containers.ports")
    if k.minor >= 27:
        assert "replicas is the desired number" in k("explain", "sts.spec.replicas", "--output=plaintext-openapiv2")
    assert "field" in k.fails("explain", "sts.spec.replica")


def test_explain_of_one_version(k: Kubectl) -> None:
    assert "targetCPUUtilizationPercentage" in k("explain", "hpa.spec", "--api-version=autoscaling/v1")
    assert "metrics" in k("explain", "hpa.spec", "--api-version=autoscaling/v2")


def test_apply_refuses_what_it_does_not_know(k: Kubectl, tmp_path: Path) -> None:
    path = manifest(tmp_path, "wrong.json", mistyped("strict"))
    if k.minor < 25:
        said = k.fails("apply", "--validate=true", "-f", path)
        assert 'ValidationError(ConfigMap): unknown field "dada" in io.k8s.api.core.v1.ConfigMap' in said
        k("apply", "--validate=false", "-f", path)
        return
    assert 'strict decoding error: unknown field "dada"' in k.fails("apply", "--validate=strict", "-f", path)
    assert k.run("get", "cm", "strict").returncode == 1
    warned = k.run("apply", "--validate=warn", "-f", path)
    assert (warned.returncode, warned.stderr.decode()) == (0, 'Warning: unknown field "dada"\n')
    ignored = k.run("apply", "--validate=ignore", "-f", path)
    assert (ignored.returncode, ignored.stderr) == (0, b"")


def test_a_dry_run_is_known_to_be_one(k: Kubectl, tmp_path: Path) -> None:
    path = manifest(tmp_path, "dry.json", config_map("dry"))
    for command in ("apply", "create"):
        assert k(command, "--dry-run=server", "-f", path) == "configmap/dry created (server dry run)\n"
    assert k.run("get", "cm", "dry").returncode == 1


def test_create_refuses_a_mistyped_or_missing_field(k: Kubectl, tmp_path: Path) -> None:
    wrong = manifest(tmp_path, "wrong.json", mistyped("created"))
    assert 'unknown field "dada"' in k.fails("create", "--validate=true", "-f", wrong)
    typed = manifest(tmp_path, "typed.json", {**config_map("created"), "data": ["a"]})
    k.fails("create", "-f", typed)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nameless"}, "spec": {"containers": [{"image": "busybox"}]}}
    said = k.fails("create", "-f", manifest(tmp_path, "pod.json", pod))
    assert "spec.containers[0].name: Required value" in said or 'missing required field "name"' in said
    good = manifest(tmp_path, "good.json", config_map("created"))
    assert k("create", "--validate=true", "-f", good) == "configmap/created created\n"


def test_diff_shows_what_an_apply_would_change(k: Kubectl, tmp_path: Path) -> None:
    k("apply", "-f", manifest(tmp_path, "one.json", config_map("different", "before")))
    assert k("diff", "-f", manifest(tmp_path, "one.json", config_map("different", "before"))) == ""
    changed = k.fails("diff", "-f", manifest(tmp_path, "two.json", together(config_map("different", "after"), config_map("new"))))
    assert "\n-  a: before\n+  a: after\n" in changed
    assert "+  name: new\n" in changed
    assert k.field("cm/different", path=".data.a") == "before"
    server_side = k.fails("diff", "--server-side", "--force-conflicts", "-f", str(tmp_path / "two.json"))
    assert "\n-  a: before\n+  a: after\n" in server_side


def test_prune_removes_what_is_no_longer_applied(k: Kubectl, tmp_path: Path) -> None:
    both = manifest(tmp_path, "both.json", together(config_map("kept", set="p"), config_map("gone", set="p")))
    k("apply", "-f", both)
    k("create", "configmap", "foreign")
    k("label", "configmap", "foreign", "set=p")
    allow = "--prune-allowlist" if k.minor >= 26 else "--prune-whitelist"
    said = k(
        "apply",
        "--prune",
        "-l",
        "set=p",
        f"{allow}=core/v1/ConfigMap",
        "-f",
        manifest(tmp_path, "one.json", config_map("kept", set="p")),
    )
    assert "configmap/gone pruned" in said
    assert k("get", "cm", "-l", "set=p", "-o", "name").split() == ["configmap/foreign", "configmap/kept"]


def test_prune_looks_at_every_kind_it_prunes_by_itself(k: Kubectl, tmp_path: Path) -> None:
    if k.minor < 22:
        return  # its own list names kinds of extensions/v1beta1, which no server has had since 1.22
    k("apply", "-f", manifest(tmp_path, "both.json", together(config_map("stays", set="q"), config_map("goes", set="q"))))
    said = k("apply", "--prune", "-l", "set=q", "-f", manifest(tmp_path, "one.json", config_map("stays", set="q")))
    assert "configmap/goes pruned" in said


def test_prune_by_an_apply_set(k: Kubectl, tmp_path: Path) -> None:
    if k.minor < 27:
        return  # begins with 1.27
    alpha = {"KUBECTL_APPLYSET": "true"}
    both = manifest(tmp_path, "both.json", together(config_map("member-a"), config_map("member-b")))
    k("apply", "--server-side", "--prune", "--applyset=mine", "-f", both, **alpha)
    said = k(
        "apply", "--server-side", "--prune", "--applyset=mine", "-f", manifest(tmp_path, "one.json", config_map("member-a")), **alpha
    )
    assert "configmap/member-b pruned" in said
    parent = json.loads(k("get", "secret", "mine", "-o", "json"))["metadata"]["annotations"]
    assert {parent[name] for name in parent if "/contains-group-" in name} <= {"ConfigMap", "configmaps"}


def test_what_is_there_is_found_by_every_name(k: Kubectl) -> None:
    for name in ("sts", "statefulset", "statefulsets", "statefulsets.apps", "statefulsets.v1.apps"):
        assert k.run("get", name).returncode == 0
    assert "the server doesn't have a resource type" in k.fails("get", "statefulsetz")
    assert "autoscaling/v2" in k("api-versions").split()
    if k.minor >= 27:
        assert set(k("api-resources", "--categories=all", "-o", "name").split()) >= {"pods", "services", "statefulsets.apps"}
