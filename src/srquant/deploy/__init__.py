"""Frozen networks: their layers, their file, their export to engines."""
