"""Networks with window attention."""
