"""Ingress and IngressClass: what would let the outside in."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import STATUS
from holdfast.kinds.columns import AGE, NAME, NONE, at
from holdfast.kinds.definitions.ingress import NETWORKING
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import INGRESSCLASSES, INGRESSES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import meta
from holdfast.machinery.fielderror import FieldError, invalid

CLASS = "kubernetes.io/ingress.class"


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"loadBalancer": {}}


def _check_annotation(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    given, named = meta.annotations_of(new).get(CLASS), new["spec"].get("ingressClassName")
    if old is not None or given is None or named in (None, given):
        return []
    return [invalid(f"annotations.{CLASS}", given, "must match `ingressClassName` when both are specified")]


def _warn_of_annotation(new: Obj, old: Obj | None) -> list[str]:
    if old is not None or CLASS not in meta.annotations_of(new):
        return []
    return [f"annotation \"{CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]


def _class(obj: Obj, _now: float) -> str:
    return str(obj["spec"].get("ingressClassName") or meta.annotations_of(obj).get(CLASS) or NONE)


def _hosts(obj: Obj, _now: float) -> str:
    hosts = list(dict.fromkeys(rule["host"] for rule in obj["spec"].get("rules") or [] if rule.get("host")))
    if not hosts:
        return "*"
    return ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "")


def _address(obj: Obj, _now: float) -> str:
    entries = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return ",".join(sorted({entry.get("ip") or entry.get("hostname") or "" for entry in entries} - {""}))


def _ports(obj: Obj, _now: float) -> str:
    return "80, 443" if obj["spec"].get("tls") else "80"


def _parameters(obj: Obj, _now: float) -> str:
    parameters = obj["spec"].get("parameters")
    if not parameters:
        return NONE
    group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
    return f"{parameters['kind']}{group}/{parameters['name']}"


KIND = Kind(
    resource=INGRESSES,
    schema=schema_of(NETWORKING + "Ingress"),
    singular="ingress",
    short_names=("ing",),
    storage="ingresses",
    prepare=(_prepare,),
    checks=(_check_annotation,),
    warnings=(_warn_of_annotation,),
    subresources={"status": STATUS},
    columns=(
        NAME,
        Column("Class", _class, description="Who carries it out."),
        Column("Hosts", _hosts, description="Which names it is for."),
        Column("Address", _address, description="Where it is to be reached."),
        Column("Ports", _ports, description="The ports it listens on."),
        AGE,
    ),
    acted_on=False,
)

CLASS_KIND = Kind(
    resource=INGRESSCLASSES,
    schema=schema_of(NETWORKING + "IngressClass"),
    singular="ingressclass",
    storage="ingressclasses",
    columns=(
        NAME,
        Column("Controller", at("spec", "controller", default=""), description="Who carries its ingresses out."),
        Column("Parameters", _parameters, description="With which parameters."),
        AGE,
    ),
    has_status=False,
    acted_on=False,
)
