"""The grid, the ranges and the layers of quantization."""
