"""The kinds of the node group, one module each."""
