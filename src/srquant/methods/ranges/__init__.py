"""Ranges by a rule: minmax, percentile, mse, tails."""
