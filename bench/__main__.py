"""Runs the benches named on the command line, or all; each prints what it measured and its bar.

What follows ``statefulset`` names parts of it.
"""

from __future__ import annotations

import importlib
import sys

NAMES = ("startup", "memory", "pod_start", "api", "scale", "statefulset", "volumes", "rbd")

chosen = sys.argv[1:2] if sys.argv[1:2] == ["statefulset"] else sys.argv[1:]
for name in chosen or NAMES:
    if name not in NAMES:
        sys.exit(f"no bench {name!r}; there are: {', '.join(NAMES)}")
    print(f"\n== {name}", flush=True)
    importlib.import_module(f"bench.{name}").main()
