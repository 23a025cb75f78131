"""The command line: one file per subcommand."""

from srquant.cli.app import main

__all__ = ["main"]
