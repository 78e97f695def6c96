"""Runs the benches named on the command line, or all; each prints what it measured and its bar."""

from __future__ import annotations

import importlib
import sys

NAMES = ("startup", "memory", "pod_start", "api", "scale", "statefulset", "volumes")

for name in sys.argv[1:] or NAMES:
    if name not in NAMES:
        sys.exit(f"no bench {name!r}; there are: {', '.join(NAMES)}")
    print(f"\n== {name}", flush=True)
    importlib.import_module(f"bench.{name}").main()
