"""Pictures: reading, resizing, calibration sets and benchmark sets."""
