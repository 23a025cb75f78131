"""Quantize super-resolution networks to 2-8 bits and run them with integer arithmetic."""
