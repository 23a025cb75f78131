"""``python -m srquant``."""

from srquant.cli import main

main()
