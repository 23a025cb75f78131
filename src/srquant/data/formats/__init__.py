"""Formats of picture files: how they are recognised, opened, and what is refused."""
