"""DoReFa (Zhou et al. 2016)."""
