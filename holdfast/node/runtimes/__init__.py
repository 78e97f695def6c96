"""How instances run: the Runtime interface and its implementations."""
