"""Outlier-aware PLQ and SAFT (arXiv 2511.00682)."""
