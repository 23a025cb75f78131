"""Finetuning: stages, losses, the one loop."""
