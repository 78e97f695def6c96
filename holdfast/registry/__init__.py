"""Authorize, admit, default, validate; the verbs; the watch cache; the in-process client."""
