"""Warnings of the library, shown as other messages are: on stderr, in plain text."""

import logging

from srquant.cli.output import note


class Notes(logging.Handler):
    """Prints each message in a line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        note(record.getMessage())


def show_log_messages() -> None:
    """From now on print what srquant warns of."""
    log = logging.getLogger("srquant")
    log.addHandler(Notes())
    log.propagate = False
