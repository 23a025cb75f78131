"""Frozen networks on CUDA: exact int8 3x3 convolutions in Triton."""
