"""One package a controller; all are API clients only."""
