"""From a float network and a policy to a network with quantizers on settled grids."""
