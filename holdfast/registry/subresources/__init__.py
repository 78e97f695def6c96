"""Subresources whose body is not the object itself: scale, binding, eviction, token. One file each."""
