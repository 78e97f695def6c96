"""StatefulSet: members with ordinals, started, scaled and updated in order, with names and claims that stay.

``controller`` turns events to keys and plans to API writes; ``decide`` is the algorithm; ``objects`` builds
and reads pods and claims; ``revisions`` the history of templates; ``status`` the counters.
"""
