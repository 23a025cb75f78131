"""Distill: weights, biases and bounds learn from the float network. Ours, from no paper."""
