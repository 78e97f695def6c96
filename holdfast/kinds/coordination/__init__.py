"""The kinds of the coordination group, one module each."""
