"""The revisioned log: SQLite or memory behind one interface."""
