"""Modules that put activations and weights on grids, and the layers that use them."""
