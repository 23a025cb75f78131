"""The quantized file: header, packed tensors, saving and loading."""
