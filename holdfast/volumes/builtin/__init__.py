"""The builtin engine: volumes as image files in a pool on this machine's disk."""

from holdfast.volumes.builtin.engine import BuiltinEngine

__all__ = ["BuiltinEngine"]
