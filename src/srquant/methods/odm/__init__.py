"""ODM (Hong and Lee, ECCV 2024)."""
