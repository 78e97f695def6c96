"""Service addresses: nftables rules in the node's namespace, from Services and EndpointSlices."""

from holdfast.node.proxy.proxy import ServiceProxy
from holdfast.node.proxy.rules import ServicePort, render, service_ports

__all__ = ["ServicePort", "ServiceProxy", "render", "service_ports"]
