"""Upscale a picture file, or a folder of them."""
