"""2DQuant (Liu et al., NeurIPS 2024)."""
