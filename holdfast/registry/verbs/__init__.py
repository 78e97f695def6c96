"""The verbs, one file each. ``core.registry`` authorizes, then calls the one a request names."""
