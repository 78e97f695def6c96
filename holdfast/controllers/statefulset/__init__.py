"""StatefulSet: members with ordinals, started, scaled and updated in order, with names and claims that stay.

``controller`` turns events to keys and plans to API writes; ``decide`` is the algorithm; ``objects`` builds
and reads pods and claims; ``revisions`` the history of templates; ``status`` the counters.

Past upstream: ``options`` reads what a set opts into, ``conditions`` says how it is, ``waits`` and ``causes`` what it and its
members wait for, ``picture`` and ``plan`` run ``decide`` without a controller (``holdfast why``, ``holdfast plan``).
"""
