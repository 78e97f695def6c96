"""How many pods may be away: the status of PodDisruptionBudgets."""
