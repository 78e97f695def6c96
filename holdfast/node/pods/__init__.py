"""The life of pods on this node: ``decide`` says what to do next, ``worker`` does it, ``status`` reports it."""
