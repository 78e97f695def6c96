"""The kinds of the storage group, one module each."""
