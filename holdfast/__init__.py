"""holdfast: stateful applications the way Kubernetes describes them.

The floors of the house, top down, are in docs/architecture.md; each floor has a README that
follows the data. Start at ``holdfast/cli/main.py`` (the command) or ``holdfast/system`` (the wiring).
"""

__version__ = "0.1.0"
