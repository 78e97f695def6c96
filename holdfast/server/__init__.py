"""The HTTP edge of the API server."""
