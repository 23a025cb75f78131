import logging

import pytest

from srquant.cli.log_messages import show_log_messages


@pytest.fixture
def log(monkeypatch):
    """The logger of srquant, as it was before once the test is over."""
    log = logging.getLogger("srquant")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", True)
    return log


def test_warnings_are_plain_lines_on_stderr(capsys, log):
    show_log_messages()
    log.warning("left out \x1b[2Jb.bmp")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "left out \\x1b[2Jb.bmp\n")
