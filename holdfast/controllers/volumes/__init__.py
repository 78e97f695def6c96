"""Claims and volumes: binding, release, and the finalizers that keep what is in use."""
