"""Distillation: a quantized network (student) learns to reproduce the float network (teacher)."""
