"""Files of weights: what a file is, how much of it may be read, and which of its content is the network."""
