"""ReplicaSet and ReplicationController: so many equal pods, whichever they are.

``controller`` turns events to keys and plans to API writes, for both kinds; ``decide`` says how many pods to make and which to
delete; ``ranking`` which go first; ``status`` counts.
"""
