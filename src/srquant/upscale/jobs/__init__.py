"""One picture, a folder of pictures."""
