"""Auto: the best method for the bits and the time allowed. Ours."""
