"""Upscale arrays, picture files and folders, tile by tile, with one of three engines."""
