"""The kinds of the apps group, one module each."""
