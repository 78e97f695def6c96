"""Ingress and IngressClass: hosts and paths that lead to Services from outside, and who serves them."""

from __future__ import annotations

from holdfast.kinds.apps.replicas import STATUS
from holdfast.kinds.columns import AGE, NAME, NONE, at
from holdfast.kinds.definitions.ingress import CLASS_ANNOTATION, check_balancer
from holdfast.kinds.definitions.overlay import NETWORKING
from holdfast.kinds.definitions.rules import immutable
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import INGRESSCLASSES, INGRESSES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import meta
from holdfast.machinery.fielderror import FieldError, invalid

_HOSTS_SHOWN = 3


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"loadBalancer": {}}


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """The annotation of old and the field that took its place say the same."""
    said, wanted = meta.annotations_of(new).get(CLASS_ANNOTATION), new["spec"].get("ingressClassName")
    if old is not None or None in (said, wanted) or said == wanted:
        return []
    return [invalid(f"annotations.{CLASS_ANNOTATION}", said, "must match `ingressClassName` when both are specified")]


def _check_status(new: Obj, _old: Obj | None, _path: str) -> list[FieldError]:
    return check_balancer((new.get("status") or {}).get("loadBalancer") or {}, "status.loadBalancer")


def _hosts(obj: Obj, _now: float) -> str:
    rules = obj["spec"].get("rules") or []
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    if not hosts:
        return "*"
    shown = ",".join(hosts[:_HOSTS_SHOWN])
    return f"{shown} + {len(rules) - _HOSTS_SHOWN} more..." if len(hosts) > _HOSTS_SHOWN else shown


def _address(obj: Obj, _now: float) -> str:
    given = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return ",".join(sorted({entry.get("ip") or entry.get("hostname") or "" for entry in given} - {""}))


KIND = Kind(
    resource=INGRESSES,
    schema=schema_of(NETWORKING + "Ingress"),
    singular="ingress",
    short_names=("ing",),
    storage="ingresses",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    checks=(_check,),
    status_checks=(_check_status,),
    subresources={"status": STATUS},
    columns=(
        NAME,
        Column("Class", at("spec", "ingressClassName"), description="Who serves it."),
        Column("Hosts", _hosts, description="Names it answers to."),
        Column("Address", _address, description="Where it is reached."),
        Column("Ports", lambda obj, _now: "80, 443" if obj["spec"].get("tls") else "80", description="Ports it is reached at."),
        AGE,
    ),
    acted_on=False,
)


def _check_class(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    return [] if old is None else immutable(new["spec"], old["spec"], "spec", ("controller",))


def _parameters(obj: Obj, _now: float) -> str:
    parameters = obj["spec"].get("parameters")
    if not parameters:
        return NONE
    group = parameters.get("apiGroup")
    return f"{parameters['kind']}{f'.{group}' if group is not None else ''}/{parameters['name']}"


CLASS = Kind(
    resource=INGRESSCLASSES,
    schema=schema_of(NETWORKING + "IngressClass"),
    singular="ingressclass",
    storage="ingressclasses",
    checks=(_check_class,),
    columns=(
        NAME,
        Column("Controller", at("spec", "controller"), description="Who serves its Ingresses."),
        Column("Parameters", _parameters, description="More about how."),
        AGE,
    ),
    has_status=False,
    acted_on=False,
)
