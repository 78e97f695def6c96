"""Links, addresses and routes, through pyroute2 (imported on first use). Every function blocks: call it in a thread.

A pod has a /32 address and sends everything to the gateway, so that answers to translated connections
come back through the node's connection tracking instead of straight over the bridge.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

GATEWAY_MAC = "0a:58:0a:f4:00:01"
"""Of every bridge: each lies in a namespace of its own."""


def _open() -> Any:
    from pyroute2 import IPRoute

    return IPRoute()


def _index(route: Any, name: str) -> int:
    found = route.link_lookup(ifname=name)
    return int(found[0]) if found else 0


def write_sysctl(name: str, value: str) -> None:
    """In the namespace of the calling thread."""
    Path("/proc/sys/net", *name.split("/")).write_text(value)


def setup_node(bridge: str, gateway: str, prefix: int, service_cidr: str, dns_address: str) -> None:
    """Bridge, gateway address, route to the Services and forwarding, inside the node's namespace. Idempotent."""
    with _open() as route:
        loopback = _index(route, "lo")
        route.link("set", index=loopback, state="up")
        route.addr("replace", index=loopback, address=dns_address, prefixlen=32)
        index = _index(route, bridge)
        if not index:
            # An address of its own: left alone a bridge takes its lowest port's, and loses it with that port's pod,
            # so that all other pods send to an address nobody has.
            route.link("add", ifname=bridge, kind="bridge", address=GATEWAY_MAC)
            index = _index(route, bridge)
        route.link("set", index=index, state="up")
        route.addr("replace", index=index, address=gateway, prefixlen=prefix)
        route.route("replace", dst=service_cidr, oif=index, scope="link")
    write_sysctl("ipv4/ip_forward", "1")
    # pods send to the gateway what is on their own bridge: no redirects that would teach them otherwise
    write_sysctl("ipv4/conf/all/send_redirects", "0")
    write_sysctl(f"ipv4/conf/{bridge}/send_redirects", "0")
    # With br_netfilter an address translated on its way into the bridge would be bridged on at once, and a pod that
    # reached itself by a Service would be sent back through its own port, which bridges drop.
    if Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        write_sysctl("bridge/bridge-nf-call-iptables", "0")


def plug(bridge: str, port: str, namespace: str) -> bool:
    """Joins the pod's namespace to the bridge by a veth pair; True when it had to be made. Inside the node's namespace."""
    with _open() as route:
        index = _index(route, port)
        made = not index
        if made:
            handle = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                route.link("add", ifname=port, kind="veth", peer={"ifname": "eth0", "net_ns_fd": handle})
            finally:
                os.close(handle)
            index = _index(route, port)
        route.link("set", index=index, master=_index(route, bridge), state="up")
        return made


def unplug(port: str) -> None:
    """Deletes a veth pair by the end in this namespace."""
    with _open() as route:
        index = _index(route, port)
        if index:
            route.link("del", index=index)


def setup_pod(ip: str, gateway: str) -> None:
    """Loopback, address and routes inside the pod's namespace. Idempotent."""
    with _open() as route:
        route.link("set", index=_index(route, "lo"), state="up")
        index = _index(route, "eth0")
        route.link("set", index=index, state="up")
        route.addr("replace", index=index, address=ip, prefixlen=32)
        route.route("replace", dst=f"{gateway}/32", oif=index, scope="link")
        route.route("replace", dst="default", gateway=gateway, oif=index)


def address_of_pod() -> str:
    """The address on eth0 of this namespace; "" without one."""
    with _open() as route:
        index = _index(route, "eth0")
        for message in route.get_addr(index=index, family=2) if index else ():
            return str(message.get("address") or "")
    return ""


def setup_egress_outside(link: str, inner: str, address: str, namespace: str) -> None:
    """The host's end of the egress pair; the other end appears in the node's namespace. In the host's namespace."""
    with _open() as route:
        index = _index(route, link)
        if not index:
            handle = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                route.link("add", ifname=link, kind="veth", peer={"ifname": inner, "net_ns_fd": handle})
            finally:
                os.close(handle)
            index = _index(route, link)
        route.addr("replace", index=index, address=address, prefixlen=30)
        route.link("set", index=index, state="up")


def setup_egress_inside(inner: str, address: str, gateway: str) -> None:
    """The node's end: address and default route. Inside the node's namespace."""
    with _open() as route:
        index = _index(route, inner)
        route.addr("replace", index=index, address=address, prefixlen=30)
        route.link("set", index=index, state="up")
        route.route("replace", dst="default", gateway=gateway, oif=index)


def names() -> list[str]:
    """Names of all links in this namespace."""
    return sorted(os.listdir("/sys/class/net"))
