"""The command line: one file per verb."""

from srquant.cli.app import main

__all__ = ["main"]
