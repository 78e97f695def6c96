"""The cluster's DNS: names of Services and members from the informers, other names from the host's resolvers."""

from holdfast.node.nameserver.server import Nameserver
from holdfast.node.nameserver.zone import Zone

__all__ = ["Nameserver", "Zone"]
