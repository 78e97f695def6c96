"""The kubelet's HTTPS API: exec, attach, port-forward and logs of pods, for the API server alone.

``server`` has the routes and who may call; ``remote`` speaks exec and attach in either protocol (``channels``: SPDY,
WebSocket); ``forward`` is port-forward; ``logs`` reads CRI log files. Which instance a request means is asked of the
agent through ``api.Lookup``.
"""

from holdfast.node.streams.api import Lookup, Refused, Target
from holdfast.node.streams.server import StreamServer

__all__ = ["Lookup", "Refused", "StreamServer", "Target"]
