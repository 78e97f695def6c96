"""The kinds of the networking group, one module each."""
