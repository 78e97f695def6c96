"""The kinds of the events group, one module each."""
