"""Directories that an NFS server exports, as volumes."""

from holdfast.volumes.nfs.engine import NAME, NfsEngine

__all__ = ["NAME", "NfsEngine"]
