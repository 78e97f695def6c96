"""Claims get volumes from a storage engine, and released volumes lose their data by policy: on a node for engines of its own disk,
in the server for engines that every node reaches.
"""

from holdfast.controllers.provisioner.controller import Provisioner

__all__ = ["Provisioner"]
