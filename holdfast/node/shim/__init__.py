"""One shim an instance: keeps its log, its stdio and its end, and outlives the node (DESIGN, Processes).

Everything here runs in children of the spawner, so it imports nothing but small parts of the standard
library. ``start`` begins the container, ``loop`` serves it, ``finish`` records its end; ``execute`` is
the same for one exec. ``frames`` is the wire to the node.
"""
