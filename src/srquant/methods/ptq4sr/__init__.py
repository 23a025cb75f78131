"""PTQ4SR (Tu et al., CVPR 2023)."""
