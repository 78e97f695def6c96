"""The kinds of the policy group, one module each."""
