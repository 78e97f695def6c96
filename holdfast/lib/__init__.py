"""What is not about Kubernetes: clocks, tasks, TLS, wire codecs, privileged acts."""
