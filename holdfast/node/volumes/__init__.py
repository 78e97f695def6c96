"""A pod's volumes on this node: ``manager`` prepares and releases them, ``claims`` mounts and fences PersistentVolumes,
``payload`` computes the files of configMap, secret, projected and downwardAPI volumes, ``atomic`` writes them,
``provisioner`` makes and removes builtin volumes.
"""

from holdfast.node.volumes.manager import NodeVolumes
from holdfast.node.volumes.provisioner import Provisioner

__all__ = ["NodeVolumes", "Provisioner"]
