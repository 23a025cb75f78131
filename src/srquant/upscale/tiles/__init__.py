"""Upscale a picture in overlapping tiles."""
