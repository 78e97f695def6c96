"""Names and orders in discovery and OpenAPI, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.kinds.builtin import BUILTIN
from holdfast.kinds.kind import Kind, Resource
from holdfast.kinds.table import KindTable
from holdfast.server.documents import discovery, openapi
from holdfast.server.documents.operations import group_words


def served_as(group: str, version: str) -> Kind:
    return replace(BUILTIN[1], resource=Resource(group, version, "things", "Thing"), storage=f"{group}/things")


def test_versions_stand_best_first() -> None:
    names = ["v1alpha1", "v2", "v1beta2", "v1", "v10", "v1beta10", "edge"]
    table = KindTable(served_as("a.example", name) for name in names)
    assert discovery.groups(table)["a.example"] == ["v10", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "edge"]
    group = discovery.group(table, "a.example")
    assert group is not None
    assert group["preferredVersion"] == {"groupVersion": "a.example/v10", "version": "v10"}


def test_foreign_groups_follow_by_name() -> None:
    table = KindTable([served_as("z.example", "v1"), *BUILTIN, served_as("a.example", "v1")])
    names = list(discovery.groups(table))
    assert names[:3] == ["", "apps", "events.k8s.io"]
    assert names[-2:] == ["a.example", "z.example"]
    assert {"api/v1", "apis/a.example", "apis/a.example/v1", "version"} <= set(openapi.parts(table))


def test_a_kind_that_is_stored_as_another_has_its_hash() -> None:
    def hashes(group: str, version: str) -> dict[str, str]:
        found = discovery.resource_list(KindTable(BUILTIN), group, version)
        assert found is not None
        return {each["name"]: each.get("storageVersionHash", "") for each in found["resources"]}

    core, new = hashes("", "v1"), hashes("events.k8s.io", "v1")
    assert core["events"] == new["events"] == "r2yiGXH7wu8="
    assert hashes("autoscaling", "v1") == hashes("autoscaling", "v2")
    assert core["componentstatuses"] == core["pods/status"] == ""


@pytest.mark.parametrize(
    ("group", "version", "words"),
    [
        ("", "v1", ("CoreV1", "core_v1")),
        ("apps", "v1", ("AppsV1", "apps_v1")),
        ("rbac.authorization.k8s.io", "v1", ("RbacAuthorizationV1", "rbacAuthorization_v1")),
        ("storage.k8s.io", "v1beta1", ("StorageV1beta1", "storage_v1beta1")),
        ("autoscaling", "", ("Autoscaling", "autoscaling")),
    ],
)
def test_groups_are_called_as_generated_clients_call_them(group: str, version: str, words: tuple[str, str]) -> None:
    assert group_words(group, version) == words
