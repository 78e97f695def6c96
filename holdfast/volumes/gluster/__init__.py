"""Volumes of a GlusterFS cluster."""

from holdfast.volumes.gluster.engine import NAME, GlusterEngine

__all__ = ["NAME", "GlusterEngine"]
