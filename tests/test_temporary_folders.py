"""Temporary folders are gone after their block, and those of killed processes when the next one is made."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from srquant.temporary_folders import temporary_folder

KILLED = """
import os, signal
from srquant.temporary_folders import temporary_folder
with temporary_folder() as folder:
    (folder / "inner").mkdir()
    (folder / "inner" / "large").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_gone_after_the_block(place):
    with temporary_folder() as folder:
        (folder / "a").write_text("a")
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(place.iterdir()) == []


def test_it_is_gone_after_an_error(place):
    with pytest.raises(ValueError, match="wrong"), temporary_folder():
        raise ValueError("wrong")
    assert list(place.iterdir()) == []


def test_those_of_living_processes_stay(place):
    with temporary_folder() as first, temporary_folder() as second:
        assert first != second
        assert first.is_dir()


def test_those_of_killed_processes_are_removed_by_the_next_one(place):
    environment = {**os.environ, "TMPDIR": str(place)}
    ended = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [path.name for path in place.rglob("*") if path.is_file() and path.name == "large"] == ["large"]
    with temporary_folder():
        pass
    assert list(place.iterdir()) == []


def test_folders_with_other_names_stay(place):
    (place / "srquant-mine").mkdir()
    with temporary_folder():
        pass
    assert (place / "srquant-mine").is_dir()
