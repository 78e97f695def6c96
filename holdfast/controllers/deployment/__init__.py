"""Deployment: equal pods, replaced step by step, by ReplicaSets of which each keeps one template.

``controller`` turns events to keys and plans to API writes; ``decide`` is the algorithm; ``scaling`` the arithmetic of surge,
absence and proportions; ``objects`` builds and reads ReplicaSets; ``status`` the counters and conditions.
"""
