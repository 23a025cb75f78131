"""Which files of a folder are pictures, and what is said of the others."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srquant.data import find
from srquant.data.find import find_pictures, list_images
from srquant.data.formats.kinds import Format
from srquant.errors import DatasetError


def save(path: Path, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, kind)
    return path


def reasons(folder: Path) -> dict[str, str]:
    return {item.path.relative_to(folder).as_posix(): item.reason for item in find_pictures(folder, True).left_out}


def names(folder: Path, recursive: bool = True) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_pictures(folder, recursive).pictures]


def test_every_format_that_can_be_read_is_found(tmp_path: Path) -> None:
    for name, kind in (("a.bmp", "BMP"), ("b.avif", "AVIF"), ("c.JPE", "JPEG"), ("d.webp", "WEBP"), ("e.png", "PNG")):
        save(tmp_path / name, kind)
    assert names(tmp_path) == ["a.bmp", "b.avif", "c.JPE", "d.webp", "e.png"]


def test_files_without_a_suffix_are_told_by_their_content(tmp_path: Path) -> None:
    save(tmp_path / "photo")
    (tmp_path / "README").write_text("BM, that is: big mountains")
    assert names(tmp_path) == ["photo"]
    assert reasons(tmp_path) == {"README": "no picture"}


def test_formats_that_no_library_here_reads_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "is_readable", lambda kind: kind not in (Format.JXL, Format.HEIC))
    save(tmp_path / "a.png")
    for name in ("IMG_1.HEIC", "b.jxl"):
        (tmp_path / name).touch()
    assert names(tmp_path) == ["a.png"]
    assert set(reasons(tmp_path)) == {"IMG_1.HEIC", "b.jxl"}
    assert "read no HEIC: convert it to PNG" in reasons(tmp_path)["IMG_1.HEIC"]


def test_links_to_folders_are_named_and_not_followed(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "album" / "b.png")
    (tmp_path / "in" / "album").symlink_to(tmp_path / "album")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in" / "linked.png").symlink_to(tmp_path / "album" / "b.png")
    assert names(tmp_path / "in") == ["a.png", "linked.png"]
    assert set(reasons(tmp_path / "in")) == {"again", "album", "gone.png"}


def test_hidden_folders_are_left_out_as_hidden_files_are(tmp_path: Path) -> None:
    for name in ("a.png", ".thumbnails/a.png", "deep/.cache/b.png", "deep/.c.png"):
        save(tmp_path / name)
    assert names(tmp_path) == ["a.png"]
    assert reasons(tmp_path) == {}


def test_other_files_are_named(tmp_path: Path) -> None:
    for name in ("a.png", "deep/b.png"):
        save(tmp_path / name)
    (tmp_path / "deep" / "notes.txt").touch()
    assert reasons(tmp_path) == {"deep/notes.txt": "no picture by its name"}


def closed_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a folder unreadable, also for root."""
    scan = os.scandir

    def scandir(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_folders_that_cannot_be_listed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "locked/b.png"):
        save(tmp_path / name)
    closed_folder("locked", monkeypatch)
    found = find_pictures(tmp_path, True)
    assert [item.path.name for item in found.closed] == ["locked"]
    assert "Permission denied" in found.closed[0].reason
    assert len(found.pictures) == 1


def test_data_sets_warn_of_pictures_that_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(find, "is_readable", lambda kind: kind is not Format.BMP)
    save(tmp_path / "a.png")
    (tmp_path / "notes.txt").touch()
    with caplog.at_level(logging.WARNING):
        list_images(tmp_path)
        assert caplog.messages == []
        for index in range(5):
            (tmp_path / f"{index}.bmp").touch()
        assert [path.name for path in list_images(tmp_path)] == ["a.png"]
    assert "0.bmp (" in caplog.messages[0]
    assert caplog.messages[0].endswith("and 2 more")


def test_a_folder_of_unreadable_pictures_is_not_called_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "is_readable", lambda kind: kind is Format.PNG)
    (tmp_path / "a.jxl").touch()
    with pytest.raises(DatasetError, match=r"left out a\.jxl \(.*JPEG XL: convert it to PNG"):
        find_pictures(tmp_path)
