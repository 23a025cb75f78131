"""Comparison pictures: the same crops of several results side by side."""
