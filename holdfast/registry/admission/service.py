"""Addresses of Services: each gets or keeps its cluster IP and node ports, before it is committed."""

from __future__ import annotations

import ipaddress

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, fielderror
from holdfast.machinery.fielderror import FieldError
from holdfast.registry.addresses import HEADLESS, NODE_PORTS, port_name, service_key
from holdfast.registry.write import Write


async def allocate(write: Write) -> None:
    """The pipeline's last step: never suspends between looking and reserving."""
    resource = write.kind.resource
    if (resource.group, resource.plural) != ("", "services") or write.request.subresource:
        return
    spec = write.new["spec"]
    if spec.get("type") == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            spec.pop(name, None)
        _drop_ports(spec)
        return
    found = _cluster_ip(write, spec)
    if spec.get("type") in ("NodePort", "LoadBalancer") and spec.get("allocateLoadBalancerNodePorts") is not False:
        found += _node_ports(write, spec)
    elif spec.get("type") == "ClusterIP":
        _drop_ports(spec)
        spec.pop("externalTrafficPolicy", None)
        spec.pop("allocateLoadBalancerNodePorts", None)
    found += _health_port(write, spec)
    if found:
        write.release()
        raise errors.invalid("Service", write.new["metadata"]["name"], found)


def _drop_ports(spec: Obj) -> None:
    for port in spec.get("ports") or []:
        port.pop("nodePort", None)


def _cluster_ip(write: Write, spec: Obj) -> list[FieldError]:
    addresses = write.core.addresses
    address = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or []), "")
    if found := _families(spec, selectorless=address == HEADLESS and not spec.get("selector")):
        return found
    if address == HEADLESS:
        spec["clusterIP"], spec["clusterIPs"] = HEADLESS, [HEADLESS]
        return []
    if not address:
        address = addresses.pick_address()
    else:
        path, listed = "spec.clusterIPs", [address]
        try:
            if ipaddress.IPv4Address(address) not in addresses.network:
                why = f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {addresses.network}"
                return [fielderror.invalid(path, listed, f"failed to allocate IP {address}: {why}")]
        except ValueError:
            return [fielderror.invalid(f"{path}[0]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
        if addresses.holder(address) not in ("", service_key(write.new)):
            return [fielderror.invalid(path, listed, f"failed to allocate IP {address}: provided IP is already allocated")]
    write.releases.append(addresses.reserve(address, service_key(write.new)))
    spec["clusterIP"], spec["clusterIPs"] = address, [address]
    return []


def _families(spec: Obj, *, selectorless: bool) -> list[FieldError]:
    """The cluster has IPv4 only; a headless Service without a selector may speak of endpoints of both families."""
    if selectorless:
        families = spec.setdefault("ipFamilies", ["IPv4"])
        if spec.setdefault("ipFamilyPolicy", "RequireDualStack") != "SingleStack" and len(families) == 1:
            families.append("IPv6" if families[0] == "IPv4" else "IPv4")
        return []
    for position, family in enumerate(spec.get("ipFamilies") or []):
        if family != "IPv4":
            return [fielderror.invalid(f"spec.ipFamilies[{position}]", family, "not configured on this cluster")]
    if spec.get("ipFamilyPolicy") == "RequireDualStack":
        text = "this cluster is not configured for dual-stack services"
        return [fielderror.invalid("spec.ipFamilyPolicy", "RequireDualStack", text)]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    return []


def _health_port(write: Write, spec: Obj) -> list[FieldError]:
    """Where a load balancer asks a node whether it has a member of its own: with externalTrafficPolicy Local only."""
    addresses, key, path = write.core.addresses, service_key(write.new), "spec.healthCheckNodePort"
    before = ((write.old or {}).get("spec") or {}).get("healthCheckNodePort")
    if spec.get("type") != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
        spec.pop("healthCheckNodePort", None)
        return []
    number = spec.get("healthCheckNodePort") or before or addresses.pick_port({"TCP"})
    if number not in NODE_PORTS:
        text = f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[-1]}"
        return [fielderror.invalid(path, number, f"failed to allocate requested HealthCheck NodePort {number}: {text}")]
    name = port_name(number, "TCP")
    if addresses.holder(name) not in ("", key):
        text = "provided port is already allocated"
        return [fielderror.invalid(path, number, f"failed to allocate requested HealthCheck NodePort {number}: {text}")]
    write.releases.append(addresses.reserve(name, key))
    spec["healthCheckNodePort"] = number
    return []


def _node_ports(write: Write, spec: Obj) -> list[FieldError]:
    addresses, key = write.core.addresses, service_key(write.new)
    before = {
        (p.get("name", ""), p.get("protocol")): p.get("nodePort") for p in ((write.old or {}).get("spec") or {}).get("ports") or []
    }
    found = []
    for position, port in enumerate(spec.get("ports") or []):
        protocol = port.get("protocol", "TCP")
        number = port.get("nodePort") or before.get((port.get("name", ""), protocol)) or addresses.pick_port({protocol})
        name = port_name(number, protocol)
        path = f"spec.ports[{position}].nodePort"
        if number not in NODE_PORTS:
            text = f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[-1]}"
            found.append(fielderror.invalid(path, number, text))
        elif addresses.holder(name) not in ("", key):
            found.append(fielderror.invalid(path, number, "provided port is already allocated"))
        else:
            write.releases.append(addresses.reserve(name, key))
            port["nodePort"] = number
    return found
