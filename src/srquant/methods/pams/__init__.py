"""PAMS (Li et al., ECCV 2020)."""
