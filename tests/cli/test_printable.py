import pytest

from srquant.cli.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 日本 😀", "café 日本 😀"),
        ("two\nlines\t", "two\nlines\t"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\ud800", r"\xd800"),
    ],
)
def test_only_what_a_terminal_shows_is_printed(text, shown):
    assert printable(text) == shown
    printable(text).encode()
