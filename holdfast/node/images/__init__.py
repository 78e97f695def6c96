"""Images without a registry: an OCI layout in DATA/images, its layers unpacked once, by diff id.

``store`` finds and keeps them, ``archive`` reads what ``image load`` is given, ``unpack`` trusts no tar file,
``build`` makes images out of this machine's packages; ``names`` spells references.
"""

from holdfast.node.images.names import normalise
from holdfast.node.images.store import ImageStore

__all__ = ["ImageStore", "normalise"]
