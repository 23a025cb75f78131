"""One file per network architecture."""
