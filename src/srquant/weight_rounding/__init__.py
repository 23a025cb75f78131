"""Rounding of weights to their grids: nearest, GPTQ, GPTAQ."""
