"""Uniform grids and their gradients, rules that find ranges, measures of a picture's detail."""
