"""Folders: what is made, what is skipped, and what an interruption leaves behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import pyvips

from srquant.errors import DatasetError, ImageError, OutputError
from srquant.file_owners import claiming, owning
from srquant.files import temporary
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.jobs import one_picture as picture_file
from srquant.upscale.jobs.done_record import FILE_NAME
from srquant.upscale.jobs.folder import Progress, upscale_folder
from srquant.upscale.jobs.one_picture import upscale_file


def write(path: Path, seed: int = 0, side: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    pyvips.Image.new_from_array(pixels).write_to_file(str(path))
    return path


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != FILE_NAME)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.jpg", "c.gif", "deep/er/d.tif")):
        write(tmp_path / "in" / name, seed)
    return tmp_path / "in"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_folders_are_mirrored(engine: TorchEngine, source: Path, target: Path) -> None:
    report = upscale_folder(engine, source, target)
    assert files(target) == ["a.png", "b.jpg", "c.png", "deep/er/d.tif"]
    assert [p.name for p in report.written] == ["a.png", "b.jpg", "c.png", "d.tif"]
    assert pyvips.Image.new_from_file(str(target / "deep/er/d.tif")).width == 24


def test_subfolders_can_be_left_out_and_formats_chosen(engine: TorchEngine, source: Path, target: Path) -> None:
    upscale_folder(engine, source, target, recursive=False, suffix=".webp")
    assert files(target) == ["a.webp", "b.webp", "c.webp"]


def test_finished_pictures_are_skipped(engine: TorchEngine, source: Path, target: Path) -> None:
    upscale_folder(engine, source, target)
    before = {p: p.stat().st_mtime_ns for p in target.rglob("*")}
    report = upscale_folder(engine, source, target, overwrite=True)
    assert (len(report.written), len(report.skipped), report.failures) == (0, 4, ())
    assert before == {p: p.stat().st_mtime_ns for p in target.rglob("*")}


def test_changed_sources_are_not_skipped(engine: TorchEngine, source: Path, target: Path) -> None:
    upscale_folder(engine, source, target)
    write(source / "a.png", seed=9)
    report = upscale_folder(engine, source, target)
    assert "--overwrite" in str(report.failures[0].error)
    report = upscale_folder(engine, source, target, overwrite=True)
    assert [p.name for p in report.written] == ["a.png"]


def test_other_networks_are_not_skipped(engine: TorchEngine, bilinear: TorchEngine, source: Path, target: Path) -> None:
    upscale_folder(engine, source, target)
    assert len(upscale_folder(bilinear, source, target).failures) == 4


def test_edited_targets_are_not_taken_for_finished(engine: TorchEngine, source: Path, target: Path) -> None:
    upscale_folder(engine, source, target)
    write(target / "a.png")
    report = upscale_folder(engine, source, target)
    assert [f.source.name for f in report.failures] == ["a.png"]
    assert len(report.skipped) == 3


def test_half_a_line_in_the_record_is_no_picture(engine: TorchEngine, source: Path, target: Path) -> None:
    upscale_folder(engine, source, target)
    record = target / FILE_NAME
    text = record.read_text()
    record.write_text(text[:-20])
    (target / "deep/er/d.tif").unlink()
    assert [p.name for p in upscale_folder(engine, source, target).written] == ["d.tif"]
    assert len(upscale_folder(engine, source, target).skipped) == 4


def test_a_line_without_its_picture_is_no_picture(engine: TorchEngine, source: Path, target: Path) -> None:
    upscale_folder(engine, source, target)
    (target / "a.png").unlink()
    assert [p.name for p in upscale_folder(engine, source, target).written] == ["a.png"]


def test_one_bad_picture_does_not_stop_the_others(engine: TorchEngine, source: Path, target: Path) -> None:
    (source / "a.png").write_bytes(b"")
    (source / "a2.png").write_bytes((source / "b.jpg").read_bytes()[:300])
    report = upscale_folder(engine, source, target)
    assert [f.source.name for f in report.failures] == ["a.png", "a2.png"]
    assert all(isinstance(f.error, ImageError) for f in report.failures)
    assert files(target) == ["b.jpg", "c.png", "deep/er/d.tif"]


def test_a_picture_that_vanishes_does_not_stop_the_others(engine: TorchEngine, source: Path, target: Path) -> None:
    report = upscale_folder(engine, source, target, progress=lambda p: (source / "b.jpg").unlink(missing_ok=True))
    assert [(f.source.name, "No such file" in str(f.error)) for f in report.failures] == [("b.jpg", True)]
    assert len(report.written) == 3


def test_two_sources_of_one_target_are_named(engine: TorchEngine, source: Path, target: Path) -> None:
    own = write(source / "c.png", seed=8)
    write(source / "e.gif")
    write(source / "e.bmp.gif").rename(source / "e.avif.gif")
    report = upscale_folder(engine, source, target)
    assert [f.source.name for f in report.failures] == ["c.gif"]
    assert "c.png would both become" in str(report.failures[0].error)
    assert files(target) == ["a.png", "b.jpg", "c.png", "deep/er/d.tif", "e.avif.png", "e.png"]
    upscale_file(engine, own, target / "own.png")
    assert (target / "own.png").read_bytes() == (target / "c.png").read_bytes()


def test_of_two_without_their_own_name_the_first_is_made(engine: TorchEngine, source: Path, target: Path) -> None:
    write(source / "c.jpg")
    report = upscale_folder(engine, source, target, suffix=".tif")
    assert [f.source.name for f in report.failures] == ["c.jpg"]
    assert [p.name for p in report.written] == ["a.tif", "b.tif", "c.tif", "d.tif"]


def test_names_that_are_not_utf8(engine: TorchEngine, source: Path, target: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (source / "a.png").rename(source / name)
    (source / "deep").rename(source / b"\xff".decode("utf-8", "surrogateescape"))
    report = upscale_folder(engine, source, target)
    assert len(report.written) == 4
    assert (target / name).is_file()
    assert len(upscale_folder(engine, source, target).skipped) == 4


def test_a_name_that_is_too_long_does_not_stop_the_others(engine: TorchEngine, source: Path, target: Path) -> None:
    long = "a" * 251 + ".jpg"
    (source / "b.jpg").rename(source / long)
    report = upscale_folder(engine, source, target, suffix=".tiff")
    assert [f.source.name for f in report.failures] == [long]
    assert "too long" in str(report.failures[0].error)
    assert len(report.written) == 3


def test_what_is_left_out_is_told(engine: TorchEngine, source: Path, target: Path) -> None:
    write(source / ".thumbnails" / "a.png")
    (source / "album").symlink_to(source / "deep")
    (source / "notes.txt").touch()
    report = upscale_folder(engine, source, target)
    assert sorted(item.path.name for item in report.left_out) == ["album", "notes.txt"]
    assert files(target) == ["a.png", "b.jpg", "c.png", "deep/er/d.tif"]


def test_folders_that_cannot_be_listed_fail(
    engine: TorchEngine, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = upscale_folder(engine, source, target)
    assert [(f.source.name, "Permission denied" in str(f.error)) for f in report.failures] == [("deep", True)]
    assert len(report.written) == 3


def test_empty_folder(engine: TorchEngine, tmp_path: Path, target: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no pictures"):
        upscale_folder(engine, tmp_path / "empty", target)


def test_target_must_be_another_folder(engine: TorchEngine, source: Path) -> None:
    with pytest.raises(OutputError, match="folder to read"):
        upscale_folder(engine, source, source)


def test_target_inside_the_source_is_not_read_again(
    engine: TorchEngine, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)
    for _ in range(2):
        upscale_folder(engine, source, Path("big"))
    assert files(source / "big") == ["a.png", "b.jpg", "c.png", "deep/er/d.tif"]


def test_target_that_is_a_file(engine: TorchEngine, source: Path, target: Path) -> None:
    target.write_text("in the way")
    with pytest.raises(OutputError, match="can't write"):
        upscale_folder(engine, source, target)


def test_full_disk_stops_the_run(
    engine: TorchEngine, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(picture_file, "encode", full)
    with pytest.raises(OutputError, match="No space left"):
        upscale_folder(engine, source, target)
    assert files(target) == []


def test_progress_reaches_the_end(bilinear: TorchEngine, source: Path, target: Path) -> None:
    seen: list[Progress] = []
    upscale_folder(bilinear, source, target, tile=2, progress=seen.append)
    shares = [(p.position + p.fraction) / p.count for p in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert seen[-1].pixels == 4 * 12 * 12
    assert len(seen) > 8


RUN = """
import sys, torch
from pathlib import Path
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Network
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.jobs.folder import upscale_folder
torch.set_num_threads(1)
torch.manual_seed(0)
engine = TorchEngine(Network(EDSR(1, 8, 2), facts(1, 8, 2)))
source, target = map(Path, sys.argv[1:])
report = upscale_folder(engine, source, target, tile=32, progress=lambda p: print(p.position, p.fraction, flush=True))
print(len(report.written), len(report.skipped))
"""


def is_whole(path: Path) -> bool:
    image = pyvips.Image.new_from_file(str(path), fail_on="error", revalidate=True)
    return image.width == 800 and image.avg() > 0


def test_killed_run_leaves_no_half_picture_and_goes_on(tmp_path: Path, engine: TorchEngine) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    for index in range(4):
        write(source / f"{index}.png", index, side=400)
    command = [sys.executable, "-c", RUN, str(source), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("2 0.5"):
                break
        process.send_signal(signal.SIGKILL)
    stale = [p for p in target.iterdir() if p.name.startswith(".srquant-") and p.name != FILE_NAME]
    assert stale, "killed too late to leave anything behind"
    finished = [p for p in target.iterdir() if p.suffix == ".png" and p not in stale]
    assert len(finished) == 2
    assert all(is_whole(p) for p in finished)

    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "2 2"
    assert sorted(p.name for p in target.iterdir()) == [FILE_NAME, *(f"{i}.png" for i in range(4))]
    assert all(is_whole(p) for p in target.glob("*.png"))


def test_temporary_files_of_living_runs_stay(engine: TorchEngine, source: Path, target: Path) -> None:
    target.mkdir()
    dead = target / ".srquant-000000000000-00000000"
    dead.touch()
    with owning(target) as owner, temporary(target / "other.png", owner) as living:
        living.touch()
        upscale_folder(engine, source, target)
        assert living.exists()
    assert not dead.exists()


def test_two_runs_share_the_pictures(source: Path, target: Path) -> None:
    for i in range(12):
        write(source / f"more{i}.png", side=60)
    command = [sys.executable, "-c", RUN, str(source), str(target)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [run.communicate()[0].splitlines()[-1].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum(int(written) for written, _ in ends) == sum(int(skipped) for _, skipped in ends) == 16
    assert sorted(p.name for p in target.iterdir() if p.name.startswith(".")) == [FILE_NAME]


def test_a_picture_of_a_run_that_was_killed_is_made_by_the_other(
    engine: TorchEngine, source: Path, target: Path
) -> None:
    target.mkdir()
    with claiming(target / "a.png", wait=False):
        report = []
        other = threading.Thread(target=lambda: report.append(upscale_folder(engine, source, target)))
        other.start()
        while not (target / "deep/er/d.tif").exists():
            time.sleep(0.01)
        assert not (target / "a.png").exists()
    other.join()
    assert [p.name for p in report[0].written] == ["b.jpg", "c.png", "d.tif", "a.png"]
