"""Jobs: pods that run until enough of them have succeeded, each counted exactly once.

``decide`` says what to do and what to report; ``objects`` how pods are built and read, ``indexes`` the text of completed
indexes, ``policy`` what a failure means, ``backoff`` when to try again, ``status`` the conditions. ``controller`` is the
outside; ``leftovers`` frees pods whose job is gone, ``ttl`` removes jobs that ended long ago.
"""
