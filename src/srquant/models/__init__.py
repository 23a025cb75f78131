"""Load a float network from a checkpoint, with the facts that the other packages need about it."""
