"""What runs a network on pictures."""
