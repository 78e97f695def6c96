"""The kinds of the autoscaling group, one module each."""
