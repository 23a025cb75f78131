"""Uniform grids with their gradients, rules that find ranges, gradients of weight bounds."""
