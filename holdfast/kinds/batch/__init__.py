"""The kinds of the batch group, one module each."""
