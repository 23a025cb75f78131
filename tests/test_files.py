"""Files are there completely or not at all, and killed processes' leftovers go when the file is written again."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from srquant.file_owners import lock_of, owning
from srquant.files import is_temporary, remove_stale, replace_together, replacing, temporary, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left(path: Path, locked: bool = True) -> Path:
    """What a dead owner leaves that was writing ``path``, with or without its lock."""
    with owning(path.parent) as owner, temporary(path, owner) as written:
        pass
    written.write_bytes(b"half")
    if locked:
        lock_of(path.parent, owner).touch()
    return written


@pytest.fixture
def living(tmp_path):
    """A file that a living owner writes."""
    with owning(tmp_path) as owner, temporary(tmp_path / "a.txt", owner) as written:
        written.write_bytes(b"half")
        yield written


@pytest.mark.parametrize("content", [b"", b"new", memoryview(b"new")])
def test_the_content_is_complete_and_nothing_else_is_left(tmp_path, content) -> None:
    write_whole(tmp_path / "a.txt", content)
    assert (tmp_path / "a.txt").read_bytes() == bytes(content)
    assert names(tmp_path) == ["a.txt"]


def test_an_earlier_file_is_there_until_the_new_one_is_complete(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old and longer")
    with replacing(path) as written:
        written.write_text("new")
        assert path.read_text() == "old and longer"
        assert written.parent == path.parent
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("earlier", ["old", None])
def test_an_error_leaves_everything_as_it_was(tmp_path, error, earlier) -> None:
    path = tmp_path / "a.txt"
    if earlier is not None:
        path.write_text(earlier)

    def write() -> None:
        with replacing(path) as written:
            written.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert [file.read_text() for file in tmp_path.iterdir()] == ([] if earlier is None else [earlier])


@pytest.mark.parametrize("place", ["missing/a.txt", "file/a.txt", "folder", "x" * 300])
def test_places_that_cannot_be_written_are_errors_of_the_system(tmp_path, place) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"\[Errno"):
        write_whole(tmp_path / place, b"new")
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 125 + ".png", os.fsdecode(b"\xff.png"), "no suffix", ".hidden"])
def test_any_name_that_the_system_allows_can_be_written(tmp_path, name) -> None:
    write_whole(tmp_path / name, b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"new")]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path, umask) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "a.txt", b"new")
        with replacing(tmp_path / "b.txt") as written:
            written.unlink()
            written.touch(mode=0o600)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o666 & ~umask}


def test_content_is_on_the_disk_before_the_name_and_the_name_after_it(tmp_path, monkeypatch) -> None:
    events = []
    flush, rename = os.fsync, Path.replace

    def noted_flush(file: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else f"{os.fstat(file).st_size} bytes")
        flush(file)

    def noted_rename(path: Path, target: Path) -> Path:
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(Path, "replace", noted_rename)
    write_whole(tmp_path / "a.txt", b"new")
    assert events == ["3 bytes", "rename", "folder"]


def test_temporary_names_keep_the_suffix_and_files_of_one_stem_share_theirs(tmp_path) -> None:
    with owning(tmp_path) as owner:
        with temporary(tmp_path / "a.b.xml", owner) as graph, temporary(tmp_path / "a.b.bin", owner) as weights:
            assert graph.suffix == ".xml"
            assert graph.with_suffix(".bin") == weights
        with temporary(tmp_path / "a.xml", owner) as other:
            assert other.stem != graph.stem


def test_a_temporary_file_is_gone_afterwards_where_one_was_written(tmp_path) -> None:
    with owning(tmp_path) as owner:
        with temporary(tmp_path / "a.txt", owner) as path:
            path.write_text("for a moment")
            assert all(is_temporary(Path(name)) for name in names(tmp_path))
        with temporary(tmp_path / "a.txt", owner):
            pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("locked", [True, False])
def test_leftovers_of_the_same_file_are_removed_when_it_is_written_again(tmp_path, living, locked) -> None:
    path = tmp_path / "a.txt"
    dead = left(path, locked)
    of_others = [left(tmp_path / "b.txt"), left(tmp_path / "a.png")]
    write_whole(path, b"new")
    assert not dead.exists()
    assert [name for name in names(tmp_path) if "lock" not in name] == sorted(
        file.name for file in (path, living, *of_others)
    )
    assert len([name for name in names(tmp_path) if "lock" in name]) == 3


def test_all_leftovers_of_a_folder_can_be_removed_and_nothing_else_is(tmp_path, living) -> None:
    left(tmp_path / "a.txt")
    left(tmp_path / "b", locked=False)
    (tmp_path / ".srquant-lock-000000000000").touch()  # killed before it wrote anything
    others = [".srquant-done.jsonl", "a.txt", ".srquant-0123456789ab-mine.txt", ".srquant-99999999999-00000000"]
    for name in others:
        (tmp_path / name).touch()
    lock = lock_of(tmp_path, living.name.split("-")[1])
    remove_stale(tmp_path)
    assert names(tmp_path) == sorted([living.name, lock.name, *others])
    assert [name for name in others if is_temporary(Path(name))] == []


def test_a_folder_that_is_missing_has_no_leftovers(tmp_path) -> None:
    remove_stale(tmp_path / "missing")


KILLED = """
import os, signal, sys
from pathlib import Path
from srquant.files import replacing
with replacing(Path(sys.argv[1])) as path:
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_the_earlier_file_and_the_next_one_cleans_up(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    left_there = [file for file in tmp_path.iterdir() if file != path]
    assert len(left_there) == 2
    assert all(map(is_temporary, left_there))
    write_whole(path, b"new")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("step", range(4))
def test_files_that_belong_together_are_never_mixed(tmp_path, monkeypatch, step) -> None:
    """Whenever the process stops: all old, all new, or some missing."""
    paths, names_left = [tmp_path / "a.bin", tmp_path / "a.xml"], iter(range(4))

    def stopping(change):
        def changed(*arguments, **options):
            if next(names_left) == step:
                raise KeyboardInterrupt
            return change(*arguments, **options)

        return changed

    for path in paths:
        path.write_text("old")
        path.with_suffix(f"{path.suffix}.new").write_text("new")
    monkeypatch.setattr(Path, "replace", stopping(Path.replace))
    monkeypatch.setattr(Path, "unlink", stopping(Path.unlink))
    with pytest.raises(KeyboardInterrupt):
        replace_together({path: path.with_suffix(f"{path.suffix}.new") for path in paths})
    contents = [path.read_text() for path in paths if path.exists()]
    assert contents == ["old", "old"] if step == 0 else len(contents) < 2


def test_errors_of_a_full_disk_name_the_file(tmp_path, monkeypatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"):
        write_whole(tmp_path / "a.txt", b"")
    assert names(tmp_path) == []
