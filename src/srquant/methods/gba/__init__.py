"""GBA (CVPR 2026)."""
