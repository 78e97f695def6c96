"""Measurements: ratios against a bare line in the same run. ``python -m bench [startup memory pod_start api]``."""
