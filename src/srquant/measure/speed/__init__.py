"""Fair timing of several engines."""
