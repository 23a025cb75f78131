"""Text from files and names, made harmless for terminals: control characters become visible escapes."""

import re

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move the cursor, change colours, title or clipboard, turn text around, or can't be written."""


def plain(text: str) -> str:
    r"""The text with its control characters as escapes, such as ``\x1b``; tabs and ends of lines stay."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The same, with ends of lines as escapes, too."""
    return plain(text).replace("\n", "\\n")


class Plain:
    """Shows a text or a table with plain text in it.

    Args:
        shown: what rich can print.
    """

    def __init__(self, shown: RenderableType) -> None:
        self.shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The parts of what is shown; their styles stay."""
        for segment in console.render(self.shown, options):
            yield Segment(plain(segment.text), segment.style, segment.control)
