"""A quantized network learns to give the float network's outputs."""
