"""The directory engine: volumes as plain directories, where loop devices are not to be had."""

from holdfast.volumes.directory.engine import DirectoryEngine

__all__ = ["DirectoryEngine"]
