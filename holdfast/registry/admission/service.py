"""Addresses of Services: each gets or keeps its cluster IP and node ports, before it is committed."""

from __future__ import annotations

import ipaddress

from holdfast.kinds.kind import Obj
from holdfast.machinery import errors, fielderror
from holdfast.machinery.fielderror import FieldError
from holdfast.registry.addresses import HEADLESS, NODE_PORTS, port_name, service_key
from holdfast.registry.write import Write

FAMILIES = ("IPv4", "IPv6")
DUAL = "RequireDualStack"
_OUT_OF_RANGE = f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[-1]}"
_TAKEN = "provided port is already allocated"


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
    found = _families(spec) or _cluster_ip(write, spec)
    if not found and spec.get("type") in ("NodePort", "LoadBalancer") and spec.get("allocateLoadBalancerNodePorts") is not False:
        found += _node_ports(write, spec) + _health_port(write, spec)
    elif spec.get("type") == "ClusterIP":
        _drop_ports(spec)
        spec.pop("externalTrafficPolicy", None)
        spec.pop("allocateLoadBalancerNodePorts", None)
    if found:
        write.release()
        raise errors.invalid("Service", write.new["metadata"]["name"], found)


def _drop_ports(spec: Obj) -> None:
    for port in spec.get("ports") or []:
        port.pop("nodePort", None)


def _families(spec: Obj) -> list[FieldError]:
    """This network has IPv4 alone. What finds its endpoints without our help may claim both families, as upstream."""
    given = spec.get("ipFamilies") or []
    if _is_headless(spec) and not spec.get("selector"):
        spec["ipFamilyPolicy"] = policy = spec.get("ipFamilyPolicy") or DUAL
        more = [] if policy == "SingleStack" else [family for family in FAMILIES if family not in given]
        spec["ipFamilies"] = [*given, *more] or [FAMILIES[0]]
        return []
    policy = spec.get("ipFamilyPolicy") or (DUAL if len(given) > 1 else "SingleStack")
    found = []
    if policy == DUAL:
        found.append(fielderror.invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services"))
    for position, family in enumerate(given):
        if family != FAMILIES[0]:
            found.append(fielderror.invalid(f"spec.ipFamilies[{position}]", family, "not configured on this cluster"))
    spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, given or [FAMILIES[0]]
    return found


def _is_headless(spec: Obj) -> bool:
    return HEADLESS in (spec.get("clusterIP"), *(spec.get("clusterIPs") or [])[:1])


def _cluster_ip(write: Write, spec: Obj) -> list[FieldError]:
    addresses = write.core.addresses
    address = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or []), "")
    if address == HEADLESS:
        spec["clusterIP"], spec["clusterIPs"] = HEADLESS, [HEADLESS]
        return []
    if not address:
        address = addresses.pick_address()
    else:
        path, listed = "spec.clusterIPs", [address]
        try:
            if ipaddress.IPv4Address(address) not in addresses.network:
                text = f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid range"
                return [fielderror.invalid(path, listed, f"{text}. The range of valid IPs is {addresses.network}")]
        except ValueError:
            return [fielderror.invalid(f"{path}[0]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
        if addresses.holder(address) not in ("", service_key(write.new)):
            return [fielderror.invalid(path, listed, f"failed to allocate IP {address}: provided IP is already allocated")]
    write.releases.append(addresses.reserve(address, service_key(write.new)))
    spec["clusterIP"], spec["clusterIPs"] = address, [address]
    return []


def _health_port(write: Write, spec: Obj) -> list[FieldError]:
    """Where a balancer asks a node whether it has pods of a Service that stays on the node."""
    if spec["type"] != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
        spec.pop("healthCheckNodePort", None)
        return []
    addresses, key = write.core.addresses, service_key(write.new)
    before = ((write.old or {}).get("spec") or {}).get("healthCheckNodePort")
    number = spec.get("healthCheckNodePort") or before or addresses.pick_port({"TCP"})
    name = port_name(number, "TCP")
    if number not in NODE_PORTS:
        return [fielderror.invalid("spec.healthCheckNodePort", number, _OUT_OF_RANGE)]
    if addresses.holder(name) not in ("", key):
        return [fielderror.invalid("spec.healthCheckNodePort", number, _TAKEN)]
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
            found.append(fielderror.invalid(path, number, _OUT_OF_RANGE))
        elif addresses.holder(name) not in ("", key):
            found.append(fielderror.invalid(path, number, _TAKEN))
        else:
            write.releases.append(addresses.reserve(name, key))
            port["nodePort"] = number
    return found
