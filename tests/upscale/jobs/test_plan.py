"""Which pictures of several inputs become which files."""

import os
from pathlib import Path

import pytest

from srquant.errors import OutputError
from srquant.upscale.jobs.plan import plan, plan_several


@pytest.fixture
def shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: ``a.png``, ``b.gif`` and ``deep/c.jpg``."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.gif", "deep/c.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    return tmp_path


def targets(*sources: str, target: str = "out", suffix: str | None = None) -> list[str]:
    return [job.target.as_posix() for job in plan_several(map(Path, sources), Path(target), suffix).jobs]


def test_pictures_go_into_the_folder_and_folders_become_subfolders(shots: Path) -> None:
    assert targets("b.gif", "deep", "a.png") == ["out/b.png", "out/deep/c.jpg", "out/a.png"]
    assert targets("a.png", "deep", suffix=".webp") == ["out/a.webp", "out/deep/c.webp"]


def test_a_folder_has_its_name_also_where_it_is_not_given(shots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert targets(".", target="../large") == [
        f"../large/{shots.name}/{name}" for name in ("a.png", "b.png", "deep/c.jpg")
    ]
    monkeypatch.chdir(shots / "deep")
    assert targets("..", target="../../large")[0] == f"../../large/{shots.name}/a.png"


def test_one_picture_given_twice_counts_once(shots: Path) -> None:
    planned = plan_several([Path("a.png"), shots / "a.png", Path("deep/../a.png")], Path("out"), None)
    assert (len(planned.jobs), planned.failures) == (1, ())


def test_what_is_no_suffix_of_pictures_stays(shots: Path) -> None:
    assert targets("holiday.v2", "photo") == ["out/holiday.v2.png", "out/photo.png"]


def test_a_target_inside_is_not_read_but_one_around_is(shots: Path) -> None:
    Path("out").mkdir()
    Path("out/a.png").touch()
    assert [job.source for job in plan(Path(), Path("out"), True, None).jobs] == [
        Path(name) for name in ("a.png", "b.gif", "deep/c.jpg")
    ]
    assert [os.fspath(job.target) for job in plan(Path("deep"), Path(), True, None).jobs] == ["c.jpg"]


def test_a_folder_into_itself_is_refused(shots: Path) -> None:
    with pytest.raises(OutputError, match="deep is the folder to read"):
        plan_several([Path("a.png"), Path("deep")], Path("deep"), None)
