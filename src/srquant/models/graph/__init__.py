"""A network as a graph of PyTorch's operators and of layers: what files keep and engines convert."""
