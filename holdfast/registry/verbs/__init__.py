"""The verbs, one file each. ``registry.registry`` authorizes, then calls the one a request names."""
