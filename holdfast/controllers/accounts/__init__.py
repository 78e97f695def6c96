"""What every namespace has from its first moment: the ``default`` ServiceAccount and the CA of the API server."""
