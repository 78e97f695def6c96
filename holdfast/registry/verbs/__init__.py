"""The verbs, one file each: ``execute(registry, request)``."""
