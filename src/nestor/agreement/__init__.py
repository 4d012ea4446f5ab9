"""Agreement between engines."""
