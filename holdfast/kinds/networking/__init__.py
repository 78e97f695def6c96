"""networking.k8s.io: Ingresses, policies, addresses. Rules: ``definitions.ingress``, ``definitions.network_policy``."""
