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
    if found:
        write.release()
        raise errors.invalid("Service", write.new["metadata"]["name"], found)


def _drop_ports(spec: Obj) -> None:
    for port in spec.get("ports") or []:
        port.pop("nodePort", None)


def _cluster_ip(write: Write, spec: Obj) -> list[FieldError]:
    addresses = write.core.addresses
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
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
                text = f"failed to allocate IP {address}: the provided IP is not in the valid range. The range of valid IPs is "
                return [fielderror.invalid(path, listed, text + str(addresses.network))]
        except ValueError:
            return [fielderror.invalid(f"{path}[0]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
        if addresses.holder(address) not in ("", service_key(write.new)):
            return [fielderror.invalid(path, listed, f"failed to allocate IP {address}: provided IP is already allocated")]
    write.releases.append(addresses.reserve(address, service_key(write.new)))
    spec["clusterIP"], spec["clusterIPs"] = address, [address]
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
