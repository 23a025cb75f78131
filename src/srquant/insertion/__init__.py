"""From a float network and a policy to a quantized network whose grids are settled on a lattice."""
