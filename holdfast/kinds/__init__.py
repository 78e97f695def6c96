"""What each kind IS, declared once."""
