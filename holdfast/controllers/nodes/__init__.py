"""Nodes that fall silent, and pods whose node is gone."""
