"""Compare the speed and memory of several engines."""
