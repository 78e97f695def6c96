"""The kinds of the discovery group, one module each."""
