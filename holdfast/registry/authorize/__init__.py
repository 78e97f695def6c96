"""Who may do what: RBAC, and the reviews by which a client asks."""
