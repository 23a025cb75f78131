"""Owners of temporary files live as long as their process, whatever its number."""

import os
import subprocess
import sys

import pytest

from srquant import file_owners
from srquant.file_owners import LONGEST, claiming, dead, lock_of, owning

HOLDING = """
import sys
from pathlib import Path
from srquant.file_owners import owning
with owning(Path(sys.argv[1])) as owner:
    print(owner, flush=True)
    sys.stdin.read()
"""


def is_alive(folder, owner):
    with dead(folder, owner) as is_dead:
        return not is_dead


def test_an_owner_lives_until_the_end_of_its_block(tmp_path):
    with owning(tmp_path) as owner:
        assert is_alive(tmp_path, owner)
    assert not is_alive(tmp_path, owner)
    assert list(tmp_path.iterdir()) == []


def test_an_owner_lives_until_its_process_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().strip()
        assert is_alive(tmp_path, owner)
        process.kill()
        process.wait()
    assert lock_of(tmp_path, owner).exists()
    assert not is_alive(tmp_path, owner)


def test_a_lock_that_is_removed_before_it_is_held_is_made_again(tmp_path, monkeypatch):
    opened = []

    def removing(path, *options):
        opened.append(original(path, *options))
        if len(opened) == 1:
            path.unlink()
        return opened[-1]

    original = os.open
    monkeypatch.setattr(os, "open", removing)
    with owning(tmp_path) as owner:
        assert lock_of(tmp_path, owner).exists()
        assert len(opened) == 2
        assert is_alive(tmp_path, owner)


@pytest.mark.parametrize("age", [0, LONGEST + 60])
def test_without_locks_age_decides(tmp_path, monkeypatch, age):
    monkeypatch.setattr(file_owners, "fcntl", None)
    with owning(tmp_path) as owner:
        present = lock_of(tmp_path, owner).stat().st_mtime
        os.utime(lock_of(tmp_path, owner), (present - age, present - age))
        with dead(tmp_path, owner) as is_dead:
            assert is_dead == (age > 0)


CLAIMING = """
import sys
from pathlib import Path
from srquant.file_owners import claiming
with claiming(Path(sys.argv[1]), wait=False) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_one_process_makes_a_file_and_the_other_waits_for_its_end(tmp_path):
    target = tmp_path / "a.png"
    command = [sys.executable, "-c", CLAIMING, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with claiming(target, wait=False) as mine, claiming(tmp_path / "b.png", wait=False) as other:
            assert (mine, other) == (False, True)
        process.kill()
        with claiming(target, wait=True) as mine:
            assert mine
    assert list(tmp_path.iterdir()) == []


def test_without_locks_everybody_makes_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(file_owners, "fcntl", None)
    with claiming(tmp_path / "a.png", wait=False) as first, claiming(tmp_path / "a.png", wait=False) as second:
        assert (first, second) == (True, True)
