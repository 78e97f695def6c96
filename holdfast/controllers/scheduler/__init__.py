"""The scheduler: gives each pod a node. ``decide`` filters nodes; ``controller`` binds, and waits for volumes."""
