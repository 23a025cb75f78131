"""Progress in terminals and elsewhere."""

import io
import sys

import pytest
from rich.console import Console

from srquant.cli import bars
from srquant.cli.bars import Lines, Pace, duration, progress


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch, kind="xterm"):
    """Make stderr a terminal; returns what is drawn on it."""
    monkeypatch.setenv("TERM", kind)
    drawn = Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    return drawn


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59, "59 s"), (59.5, "1 min"), (61, "2 min"), (3600, "1 h 0 min"), (7390, "2 h 4 min")],
)
def test_durations_are_rounded_up(seconds, text):
    assert duration(seconds) == text


def test_time_left_counts_from_the_first_report():
    clock = Clock()
    pace = Pace(1000, clock)
    assert pace.left(1000, 2000) == ""
    clock.now = 10.0
    assert pace.left(1200, 2000) == "about 40 s left"
    assert pace.left(2000, 2000) == ""


def test_lines_come_now_and_then(capsys):
    clock = Clock()
    lines = Lines(" pictures", clock)
    for second in range(95):
        clock.now = float(second)
        lines.step("large", second / 10, 19, "a.png\x1b[2J")
    assert capsys.readouterr().err.splitlines() == [
        "large: 3/19 pictures, about 3 min left, a.png\\x1b[2J",
        "large: 6/19 pictures, about 3 min left, a.png\\x1b[2J",
        "large: 9/19 pictures, about 2 min left, a.png\\x1b[2J",
    ]


def test_no_escape_codes_where_stderr_is_a_file(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(bars, "BETWEEN", 0.0)
    with progress() as step:
        step("rounds", 0, 7)
        step("rounds", 1, 7)
    err = capsys.readouterr().err
    assert err.startswith("rounds: 0/7\nrounds: 1/7, about ")
    assert "\x1b" not in err


def test_bars_in_a_terminal(monkeypatch):
    drawn = terminal(monkeypatch)
    with progress(" Mpixel") as step:
        step("[a].png", 0, 2)
        step("[a].png", 0.5, 2, "1.20 Mpixel/s")
        step("[a].png", 2, 2)
    shown = drawn.getvalue()
    assert "[a].png" in shown
    assert "2/2 Mpixel" in shown
    assert not is_erased(shown)


def test_bars_vanish_before_an_error(monkeypatch):
    drawn = terminal(monkeypatch)
    with pytest.raises(ValueError, match="damaged"):
        stop_in_the_first_round()
    assert is_erased(drawn.getvalue())


def stop_in_the_first_round():
    with progress() as step:
        step("rounds", 0, 7)
        raise ValueError("damaged")


def is_erased(shown):
    """Whether the last that was sent to a terminal moves up a line and erases it."""
    return shown.endswith("\x1b[1A\x1b[2K")


@pytest.mark.parametrize(("kind", "has_bars"), [("xterm", True), ("dumb", False)])
def test_terminals_that_can_move_the_cursor_get_bars(monkeypatch, kind, has_bars):
    terminal(monkeypatch, kind)
    assert bars.in_terminal(Console(stderr=True)) == has_bars
