"""A pod's volumes on this node: ``manager`` prepares and releases them, ``claims`` mounts and fences PersistentVolumes,
``payload`` computes the files of configMap, secret, projected and downwardAPI volumes, ``atomic`` writes them.
"""

from holdfast.node.volumes.growing import VolumeGrower
from holdfast.node.volumes.manager import NodeVolumes

__all__ = ["NodeVolumes", "VolumeGrower"]
