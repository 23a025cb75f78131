"""Pictures in overlapping tiles."""
