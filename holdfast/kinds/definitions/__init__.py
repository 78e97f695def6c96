"""Overlay of the upstream definitions: defaults, bounds and checks by definition name."""
