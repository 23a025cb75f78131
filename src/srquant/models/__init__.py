"""Checkpoint file -> float network and the facts about it."""
