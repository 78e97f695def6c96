"""One Kind record and nothing else: the server serves it, documents it, prints it, validates, patches, applies and guards it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.kinds import builtin
from holdfast.kinds.columns import AGE, NAME
from holdfast.kinds.kind import Column, Kind, Resource, Subresource
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import fielderror
from holdfast.machinery.fielderror import FieldError
from holdfast.machinery.schema import Schema
from tests.serving import STORES, Answer, Api, api_server

pytestmark = pytest.mark.parametrize("store", STORES)
Json = dict[str, Any]
TEXT = Schema(type="string")
PART = Schema(
    type="object",
    properties={"name": TEXT, "weight": Schema(type="string", format="quantity"), "note": TEXT},
    required=("name",),
)
SPEC = Schema(
    type="object",
    properties={
        "blades": Schema(type="integer", format="int32", minimum=1, maximum=12, default=3),
        "mode": Schema(type="string", enum=("Idle", "Running"), default="Idle"),
        "place": TEXT,
        "parts": Schema(type="array", items=PART, list_type="map", list_keys=("name",), patch_strategy="merge", patch_key="name"),
    },
    required=("place",),
)


def _check(new: Any, _old: Any, _path: str) -> list[FieldError]:
    spec = new["spec"]
    if spec["mode"] == "Running" and spec["blades"] < 2:
        return [fielderror.invalid("spec.blades", spec["blades"], "a turbine with one blade does not run")]
    return []


TURBINE = Kind(
    resource=Resource("power.example", "v1", "turbines", "Turbine"),
    schema=Schema(
        type="object",
        properties={
            "apiVersion": TEXT,
            "kind": TEXT,
            "metadata": schema_of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            "spec": SPEC,
            "status": Schema(type="object", properties={"watts": Schema(type="integer", format="int64")}),
        },
        required=("spec",),
    ),
    singular="turbine",
    short_names=("tb",),
    categories=("all",),
    storage="power.example/turbines",
    read_by="view",
    changed_by="edit",
    checks=(_check,),
    subresources={
        "status": Subresource("status", ("get", "patch", "update")),
        "scale": Subresource(
            "scale",
            ("get", "patch", "update"),
            kind="Scale",
            group="autoscaling",
            version="v1",
            replicas_path=("spec", "blades"),
        ),
    },
    columns=(NAME, Column("Mode", lambda obj, _now: obj["spec"]["mode"], description="What it does."), AGE),
    selectable={"spec.mode": lambda obj: str(obj["spec"].get("mode", ""))},
)
ROOT = "/apis/power.example/v1"
TURBINES = f"{ROOT}/namespaces/default/turbines"


def turbine(name: str = "north", **spec: Any) -> Json:
    return {"apiVersion": "power.example/v1", "kind": "Turbine", "metadata": {"name": name}, "spec": {"place": "hill", **spec}}


@pytest.fixture
async def api(tmp_path, store: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr(builtin, "BUILTIN", (*builtin.BUILTIN, TURBINE))
    async with api_server(tmp_path, store) as server:
        yield server


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["message"]


async def test_it_is_found_by_discovery_in_both_forms(api: Api) -> None:
    assert (await api.get("/apis")).body["groups"][-1]["name"] == "power.example"
    listed = {each["name"]: each for each in (await api.get(ROOT)).body["resources"]}
    assert list(listed) == ["turbines", "turbines/scale", "turbines/status"]
    assert (listed["turbines"]["shortNames"], listed["turbines"]["categories"]) == (["tb"], ["all"])
    assert listed["turbines/scale"]["group"] == "autoscaling"
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    whole = (await api.get("/apis", Accept=accept)).body["items"][-1]["versions"][0]
    assert whole["resources"][0]["responseKind"]["kind"] == "Turbine"
    assert [sub["subresource"] for sub in whole["resources"][0]["subresources"]] == ["scale", "status"]


async def test_it_is_documented_in_both_versions(api: Api) -> None:
    name = "example.power.v1.Turbine"
    two = (await api.get("/openapi/v2")).body
    index = (await api.get("/openapi/v3")).body["paths"]
    three = (await api.get(index["apis/power.example/v1"]["serverRelativeURL"])).body
    for document, schemas in ((two, two["definitions"]), (three, three["components"]["schemas"])):
        definition = schemas[name]
        assert definition["x-kubernetes-group-version-kind"] == [{"group": "power.example", "kind": "Turbine", "version": "v1"}]
        assert schemas[f"{name}List"]["required"] == ["items"]
        parts = definition["properties"]["spec"]["properties"]["parts"]
        assert (parts["x-kubernetes-list-map-keys"], parts["x-kubernetes-patch-merge-key"]) == (["name"], "name")
        path = f"{ROOT}/namespaces/{{namespace}}/turbines/{{name}}"
        assert set(document["paths"][path]) == {"get", "put", "patch", "delete", "parameters"}
        assert document["paths"][f"{path}/scale"]["get"]["x-kubernetes-group-version-kind"]["kind"] == "Scale"
        assert document["paths"][f"{ROOT}/turbines"]["get"]["operationId"] == "listPowerExampleV1TurbineForAllNamespaces"
    assert three["components"]["schemas"][name]["properties"]["spec"]["properties"]["mode"]["enum"] == ["Idle", "Running"]


async def test_it_is_decoded_defaulted_and_validated(api: Api) -> None:
    made = await api.post(TURBINES, turbine(parts=[{"name": "gear", "weight": "500e-3"}]))
    assert (made.status, made.body["metadata"]["generation"]) == (201, 1)
    spec = {"blades": 3, "mode": "Idle", "place": "hill"}
    assert {name: made.body["spec"][name] for name in spec} == spec
    strict = await api.post(f"{TURBINES}?fieldValidation=Strict", turbine("south", blads=3))
    why = 'Turbine in version "v1" cannot be handled as a Turbine: strict decoding error: unknown field "spec.blads"'
    assert refusal(strict) == (400, why)
    warned = await api.post(f"{TURBINES}?dryRun=All", turbine("south", blads=3))
    assert warned.warnings == ['299 - "unknown field \\"spec.blads\\""']
    refused = 'Turbine.power.example "south" is invalid: '
    absent = {**turbine("south"), "spec": {}}
    assert refusal(await api.post(TURBINES, absent)) == (422, refused + "spec.place: Required value")
    unknown = await api.post(TURBINES, turbine("south", mode="Broken"))
    assert refusal(unknown) == (422, refused + 'spec.mode: Unsupported value: "Broken": supported values: "Idle", "Running"')
    assert (await api.post(TURBINES, turbine("south", blades=13))).status == 422
    alone = await api.post(TURBINES, turbine("south", blades=1, mode="Running"))
    assert refusal(alone) == (422, refused + "spec.blades: Invalid value: 1: a turbine with one blade does not run")
    assert (await api.post(TURBINES, {**turbine("south"), "spec": {"place": 1}})).status == 400


async def test_it_is_printed_selected_and_watched(api: Api) -> None:
    for name, mode in (("north", "Idle"), ("south", "Running")):
        await api.post(TURBINES, turbine(name, mode=mode))
    table = (await api.get(TURBINES, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Mode", "Age"]
    assert [row["cells"][:2] for row in table["rows"]] == [["north", "Idle"], ["south", "Running"]]
    running = (await api.get(f"{TURBINES}?fieldSelector=spec.mode%3DRunning")).body
    assert [item["metadata"]["name"] for item in running["items"]] == ["south"]
    assert (running["kind"], running["apiVersion"]) == ("TurbineList", "power.example/v1")
    async with api.open("GET", f"{TURBINES}?watch=true&resourceVersion=0&timeoutSeconds=5") as events:
        assert b'"type":"ADDED"' in await events.content.readline()


async def test_it_is_patched_scaled_and_has_two_halves(api: Api) -> None:
    await api.post(TURBINES, turbine(parts=[{"name": "gear", "note": "old"}, {"name": "hub"}]))
    one = f"{TURBINES}/north"
    merged = await api.patch(one, {"spec": {"mode": "Running", "place": "sea"}})
    assert (merged.body["spec"]["mode"], merged.body["metadata"]["generation"]) == ("Running", 2)
    part = {"spec": {"parts": [{"name": "gear", "weight": "2"}, {"name": "tower"}]}}
    strategic = await api.patch(one, part, "application/strategic-merge-patch+json")
    parts = {each["name"]: each for each in strategic.body["spec"]["parts"]}
    assert parts["gear"] == {"name": "gear", "note": "old", "weight": "2"}
    assert parts.keys() == {"gear", "hub", "tower"}
    tested = await api.patch(one, [{"op": "test", "path": "/spec/place", "value": "moon"}], "application/json-patch+json")
    assert tested.status == 422
    scaled = await api.patch(f"{one}/scale", {"spec": {"replicas": 5}})
    assert (scaled.status, scaled.body["kind"], scaled.body["spec"]["replicas"]) == (200, "Scale", 5)
    told = await api.patch(f"{one}/status", {"spec": {"blades": 9}, "status": {"watts": 7}})
    assert (told.body["spec"]["blades"], told.body["status"], told.body["metadata"]["generation"]) == (5, {"watts": 7}, 4)
    kept = await api.patch(one, {"status": {"watts": 1}})
    assert kept.body["status"] == {"watts": 7}


async def test_it_is_applied_field_by_field(api: Api) -> None:
    one = f"{TURBINES}/north"
    apply = "application/apply-patch+yaml"
    made = await api.patch(f"{one}?fieldManager=a", turbine(parts=[{"name": "gear", "note": "a"}]), apply)
    assert made.status == 201
    other = {**turbine(), "spec": {"place": "hill", "parts": [{"name": "hub", "note": "b"}]}}
    both = await api.patch(f"{one}?fieldManager=b", other, apply)
    assert [part["name"] for part in both.body["spec"]["parts"]] == ["gear", "hub"]
    managed = {entry["manager"]: entry["fieldsV1"]["f:spec"] for entry in both.body["metadata"]["managedFields"]}
    assert managed["b"]["f:parts"] == {'k:{"name":"hub"}': {".": {}, "f:name": {}, "f:note": {}}}
    conflict = await api.patch(f"{one}?fieldManager=b", turbine(parts=[{"name": "gear", "note": "b"}]), apply)
    assert conflict.status == 409
    assert conflict.body["details"]["causes"][0]["field"] == '.spec.parts[name="gear"].note'
    withdrawn = await api.patch(f"{one}?fieldManager=a", turbine(), apply)
    assert [part["name"] for part in withdrawn.body["spec"]["parts"]] == ["hub"]


async def test_the_roles_for_people_hold_it_as_its_record_says(api: Api) -> None:
    await api.post(TURBINES, turbine())
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    for role in ("view", "edit", "admin"):
        subject = {"kind": "User", "name": role, "apiGroup": "rbac.authorization.k8s.io"}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        await api.post(bindings, {"metadata": {"name": role}, "subjects": [subject], "roleRef": reference})
    assert (await api.as_user("nobody").get(TURBINES)).status == 403
    view, edit, admin = (api.as_user(role) for role in ("view", "edit", "admin"))
    for reader in (view, edit, admin):
        assert (await reader.get(f"{TURBINES}/north")).status == 200
        assert (await reader.get(f"{TURBINES}/north/status")).status == 200
    assert (await view.patch(f"{TURBINES}/north", {"spec": {"mode": "Running"}})).status == 403
    assert (await view.delete(f"{TURBINES}/north")).status == 403
    assert (await edit.patch(f"{TURBINES}/north/scale", {"spec": {"replicas": 4}})).status == 200
    assert (await edit.patch(f"{TURBINES}/north/status", {"status": {"watts": 4}})).status == 403
    assert (await admin.delete(f"{TURBINES}/north")).status == 200
