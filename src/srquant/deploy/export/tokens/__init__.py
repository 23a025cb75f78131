"""Attention in exported graphs: bytes move instead of floats, and tokens are lists."""
