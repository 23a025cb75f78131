"""From a network to the operations of an engine's model."""
