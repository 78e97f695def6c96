"""Composition root: settings in, a running system out."""
