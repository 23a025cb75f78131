"""Training of weights with ground truth: the loop, students, checkpoints, log, several processes."""
