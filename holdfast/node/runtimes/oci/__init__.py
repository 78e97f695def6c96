"""Containers by runc or crun, driven directly, each under a shim of ours.

``runtime`` is the Runtime; ``spec`` writes the OCI bundle; ``spawner`` reaches the process that forks;
``follow`` and ``session`` are the two kinds of Streams: joined to a shim, or an exec of our own.
"""

from holdfast.node.runtimes.oci.runtime import OciRuntime

__all__ = ["OciRuntime"]
