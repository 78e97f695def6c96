"""The node's network: a namespace of its own, one namespace a pod, addresses, egress and the way to the API."""

from holdfast.node.network.bridge import BridgeNetwork

__all__ = ["BridgeNetwork"]
