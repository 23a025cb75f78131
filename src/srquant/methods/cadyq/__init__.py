"""CADyQ (Hong et al., ECCV 2022)."""
