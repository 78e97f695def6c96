"""Storage engines shaped like CSI; no API objects inside."""
