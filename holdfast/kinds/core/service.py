"""Service and Endpoints: a name (and mostly a VIP) in front of pods. Addresses are allocated by the registry."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, NONE, at, joined
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.rules import label
from holdfast.kinds.kind import Column, Kind, Obj, Subresource, proxied
from holdfast.kinds.resources import ENDPOINTS, SERVICES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, invalid

_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def _check_update(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """The VIP stays while the Service has one: clients remember it."""
    if old is None or "ExternalName" in (old["spec"].get("type"), new["spec"].get("type")):
        return []
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if not before or before == after:
        return []
    return [invalid("spec.clusterIPs[0]", new["spec"].get("clusterIPs") or [after], "may not change once set")]


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"loadBalancer": {}}
    elif isinstance(new.get("spec"), dict):
        _release(new["spec"], old["spec"])
        if new["spec"].get("type") != "ExternalName":
            _keep(new["spec"], old["spec"])


def _release(spec: Obj, before: Obj) -> None:
    """A change of type lets go of what the new type cannot have and the author did not touch."""
    exposed = ("NodePort", "LoadBalancer")
    untouched = spec.get("clusterIP") in (None, "", before.get("clusterIP"))
    if spec.get("type") == "ExternalName" != before.get("type") and untouched:
        for field in (*_ALLOCATED, "internalTrafficPolicy"):
            spec.pop(field, None)
    if before.get("type") in exposed and spec.get("type") not in exposed:
        held = {port.get("nodePort") for port in before.get("ports") or []}
        for port in spec.get("ports") or []:
            if port.get("nodePort") in held:
                del port["nodePort"]
    if before.get("type") == "LoadBalancer" != spec.get("type"):
        for field in ("allocateLoadBalancerNodePorts", "healthCheckNodePort", "loadBalancerClass"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
    if not spec.get("externalIPs") and spec.get("type") not in exposed:
        spec.pop("externalTrafficPolicy", None)


def _keep(spec: Obj, before: Obj) -> None:
    """An update that leaves allocated fields out keeps them."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    for field in _ALLOCATED:
        if not spec.get(field) and before.get(field):
            spec[field] = before[field]
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        given = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in before.get("ports") or []}
        used = {p.get("nodePort") for p in spec.get("ports") or []}
        for port in spec.get("ports") or []:
            kept = given.get((port.get("protocol"), port.get("port")))
            if not port.get("nodePort") and kept and kept not in used:
                port["nodePort"] = kept


def _external(obj: Obj, _now: float) -> str:
    spec = obj["spec"]
    addresses = list(spec.get("externalIPs") or [])
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or NONE)
    if spec.get("type") == "LoadBalancer":
        given = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        addresses = [i.get("ip") or i.get("hostname") or "" for i in given] + addresses
        return joined(addresses, "<pending>")
    return joined(addresses)


def _ports(obj: Obj, _now: float) -> str:
    return joined(
        f"{p['port']}:{p['nodePort']}/{p['protocol']}" if p.get("nodePort") else f"{p['port']}/{p['protocol']}"
        for p in obj["spec"].get("ports") or []
    )


def _selector(obj: Obj, _now: float) -> str:
    return joined(f"{k}={v}" for k, v in sorted((obj["spec"].get("selector") or {}).items()))


KIND = Kind(
    resource=SERVICES,
    schema=schema_of(CORE + "Service"),
    singular="service",
    short_names=("svc",),
    categories=("all",),
    storage="services",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare,),
    checks=(_check_update,),
    name_check=lambda name, path: label(path, name),
    subresources={"status": Subresource("status", ("get", "patch", "update")), "proxy": proxied("ServiceProxyOptions")},
    columns=(
        NAME,
        Column("Type", at("spec", "type"), description="How it is exposed."),
        Column("Cluster-IP", at("spec", "clusterIP"), description="Its VIP, None when headless."),
        Column("External-IP", _external, description="Addresses outside the cluster."),
        Column("Port(s)", _ports, description="Its ports."),
        AGE,
        Column("Selector", _selector, priority=1, description="Labels of the pods behind it."),
    ),
    selectable={
        "spec.clusterIP": lambda obj: str(obj["spec"].get("clusterIP") or ""),
        "spec.type": lambda obj: str(obj["spec"].get("type") or ""),
    },
    has_generation=False,
    create_on_update=True,
)


def _endpoints(obj: Obj, _now: float) -> str:
    shown: list[str] = []
    count = 0
    for subset in obj.get("subsets") or []:
        for port in subset.get("ports") or [{}]:
            for address in subset.get("addresses") or []:
                count += 1
                if len(shown) < 3:
                    shown.append(f"{address['ip']}:{port['port']}" if port else address["ip"])
    if count > 3:
        return f"{','.join(shown)} + {count - 3} more..."
    return joined(shown)


ENDPOINTS_KIND = Kind(
    resource=ENDPOINTS,
    schema=schema_of(CORE + "Endpoints"),
    singular="endpoints",
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    short_names=("ep",),
    storage="endpoints",
    read_by="view",
    columns=(NAME, Column("Endpoints", _endpoints, description="Ready addresses."), AGE),
    has_status=False,
    has_generation=False,
    create_on_update=True,
)
