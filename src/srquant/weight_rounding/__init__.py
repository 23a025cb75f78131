"""How weights are rounded to their grids: to nearest, GPTQ, GPTAQ."""
