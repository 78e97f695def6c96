"""The kinds of the rbac group, one module each."""
