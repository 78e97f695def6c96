"""Images of a Ceph pool as volumes: RADOS block devices, through the kernel where it can, else through a daemon of QEMU."""

from holdfast.volumes.rbd.engine import NAME, RbdEngine

__all__ = ["NAME", "RbdEngine"]
