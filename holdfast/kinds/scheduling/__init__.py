"""The kinds of the scheduling group, one module each."""
