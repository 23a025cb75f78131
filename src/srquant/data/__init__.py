"""Read and resize pictures; calibration sets, training pairs and benchmark sets."""
