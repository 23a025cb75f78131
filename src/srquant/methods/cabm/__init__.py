"""CABM (Tian et al., CVPR 2023)."""
