"""One folder per paper.

``registry`` lists the methods that quantize a trained network, ``trained_registry`` those that train weights.
"""
