"""AdaBM (Hong and Lee, CVPR 2024)."""
