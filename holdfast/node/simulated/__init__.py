"""A node on which nothing runs: the node's own code over a machine that only keeps account.

For tests of operators and of scale (``--runtime simulated``), and for the lab, where many such nodes share one
process and virtual time. Pods, fences, claims and statuses take their usual way (``node.pods``, ``node.volumes``);
below it ``machine`` is the ground truth: which processes live, what lies on the disks.
"""
