"""Service and Endpoints: a name (and mostly a VIP) in front of pods. Addresses are allocated by the registry."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, NAME, NONE, at, joined
from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.kind import Column, Kind, Obj, Subresource
from holdfast.kinds.resources import ENDPOINTS, SERVICES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import names
from holdfast.machinery.fielderror import FieldError, child, duplicate, index, invalid, required

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def _defaults(spec: Obj) -> None:
    kind = spec.setdefault("type", "ClusterIP")
    if spec.setdefault("sessionAffinity", "None") == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port")


def _check(new: Obj, old: Obj | None, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    ports = new.get("ports") or []
    headless = new.get("clusterIP") == "None"
    if not ports and not headless and new.get("type") != "ExternalName":
        found.append(required(child(path, "ports")))
    if new.get("type") == "ExternalName" and not new.get("externalName"):
        found.append(required(child(path, "externalName")))
    seen_names: set[str] = set()
    seen_ports: set[tuple[object, object]] = set()
    for position, port in enumerate(ports):
        here = index(child(path, "ports"), position)
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            found.append(required(child(here, "name")))
        if name:
            found += [invalid(child(here, "name"), name, text) for text in names.dns1123_label(name)]
            if name in seen_names:
                found.append(duplicate(child(here, "name"), name))
            seen_names.add(name)
        pair = (port.get("protocol"), port.get("port"))
        if pair in seen_ports:
            found.append(duplicate(here, {"port": port.get("port"), "protocol": port.get("protocol")}))
        seen_ports.add(pair)
        target = port.get("targetPort")
        if isinstance(target, int) and not 1 <= target <= 65535:
            found.append(invalid(child(here, "targetPort"), target, "must be between 1 and 65535, inclusive"))
    kept = old and old.get("clusterIP") and "ExternalName" not in (old.get("type"), new.get("type"))
    if old and kept and new.get("clusterIP") != old["clusterIP"]:
        found.append(invalid(child(path, "clusterIPs") + "[0]", new.get("clusterIPs") or [], "may not change once set"))
    return found


def _kept_addresses(new: Obj, old: Obj | None) -> None:
    """An update that leaves allocated fields out keeps them."""
    if old is None or not isinstance(new.get("spec"), dict) or new["spec"].get("type") == "ExternalName":
        if old is None:
            new["status"] = {"loadBalancer": {}}
        return
    for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not new["spec"].get(field) and old["spec"].get(field):
            new["spec"][field] = old["spec"][field]


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


overlay(
    CORE + "ServiceSpec",
    defaulter=_defaults,
    checks=(_check,),
    fields={"type": {"enum": TYPES}, "sessionAffinity": {"enum": ("ClientIP", "None")}},
)
overlay(CORE + "ServicePort", fields={"port": {"minimum": 1, "maximum": 65535}, "protocol": {"enum": ("SCTP", "TCP", "UDP")}})

KIND = Kind(
    resource=SERVICES,
    schema=schema_of(CORE + "Service"),
    singular="service",
    short_names=("svc",),
    categories=("all",),
    storage="services",
    prepare=(_kept_addresses,),
    name_check=lambda name, path: [invalid(path, name, text) for text in names.dns1035_label(name)],
    subresources={"status": Subresource("status", ("get", "patch", "update"))},
    columns=(
        NAME,
        Column("Type", at("spec", "type"), description="How it is exposed."),
        Column("Cluster-IP", at("spec", "clusterIP"), description="Its VIP, None when headless."),
        Column("External-IP", _external, description="Addresses outside the cluster."),
        Column("Port(s)", _ports, description="Its ports."),
        AGE,
        Column("Selector", _selector, priority=1, description="Labels of the pods behind it."),
    ),
    has_generation=False,
)


def _endpoints(obj: Obj, _now: float) -> str:
    shown: list[str] = []
    count = 0
    for subset in obj.get("subsets") or []:
        for address in subset.get("addresses") or []:
            for port in subset.get("ports") or [{}]:
                count += 1
                if len(shown) < 3:
                    shown.append(f"{address['ip']}:{port['port']}" if port else address["ip"])
    if count > 3:
        return f"{','.join(shown)} + {count - 3} more..."
    return joined(shown)


overlay(CORE + "EndpointPort", defaults={"protocol": "TCP"})
ENDPOINTS_KIND = Kind(
    resource=ENDPOINTS,
    schema=schema_of(CORE + "Endpoints"),
    singular="endpoints",
    short_names=("ep",),
    storage="endpoints",
    columns=(NAME, Column("Endpoints", _endpoints, description="Ready addresses."), AGE),
    has_status=False,
    has_generation=False,
    create_on_update=True,
)
