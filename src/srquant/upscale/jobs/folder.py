"""Upscale pictures into a folder; an interrupted run continues where it stopped."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from srquant.data.find import LeftOut
from srquant.errors import ImageError, InputError, OutputError
from srquant.file_owners import claiming
from srquant.files import file_digest, remove_stale
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.jobs.done_record import Record
from srquant.upscale.jobs.one_picture import check_target, write_target
from srquant.upscale.jobs.plan import Failure, Job, Plan, plan
from srquant.upscale.jobs.staging import make_folder
from srquant.upscale.pictures.library import USUAL, AnyPicture, open_picture
from srquant.upscale.pictures.reading import Reading
from srquant.upscale.pictures.write import check_format, check_quality, has_quality
from srquant.upscale.tiles.spans import TileSize

OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
"""Errors of the system that concern the name of one picture."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run; the share done is ``(position + fraction) / count``.

    Attributes:
        source: the picture that is being upscaled.
        position: number of pictures finished, skipped or failed before it.
        count: number of all pictures.
        fraction: share of this picture that is done, 0..1.
        pixels: input pixels upscaled in this run, for the rate.
    """

    source: Path
    position: int
    count: int
    fraction: float
    pixels: int


@dataclass(frozen=True)
class FolderReport:
    """The result for each picture.

    Attributes:
        written: targets written in this run.
        skipped: targets that an earlier run made from the same source with the same network.
        failures: pictures that could not be upscaled, and folders that could not be listed.
        left_out: files that are no pictures, or none that can be read here, and links to folders.
    """

    written: tuple[Path, ...]
    skipped: tuple[Path, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[LeftOut, ...]


def upscale_folder(
    engine: Engine,
    source: Path,
    target: Path,
    overwrite: bool = False,
    recursive: bool = True,
    tile: TileSize = "auto",
    suffix: str | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    reading: Reading = USUAL,
    quality: int | None = None,
) -> FolderReport:
    """Upscale all pictures of a folder; ``upscale_file`` says what is kept of a picture.

    Pictures that an earlier run made from the same source with the same network are skipped. A picture that can't be
    upscaled doesn't stop the others. Runs that write one folder at the same time share the pictures.

    Args:
        engine: runs the network.
        source: folder to read.
        target: folder to write, with the same subfolders; created if missing.
        overwrite: whether other existing targets may be replaced.
        recursive: whether to read subfolders.
        tile: side of a tile in input pixels, or ``auto``.
        suffix: format of all targets, e.g. ``.png``; default: that of each source, or ``.png`` if it can't be written.
        progress: called before each picture and after each tile.
        reading: limits of size, and damage that is forgiven.
        quality: of targets that are JPEG or WebP, 1..100; None: 95. A picture that was made with another quality is not
            skipped.

    Raises:
        DatasetError: ``source`` contains no pictures.
        OutputError: ``target`` is ``source``, no target has a quality, or nothing more can be written (e.g. disk full).
    """
    planned = plan(source, target, recursive, suffix)
    return upscale_planned(engine, planned, target, overwrite, tile, progress, reading, quality)


def upscale_planned(
    engine: Engine,
    planned: Plan,
    target: Path,
    overwrite: bool = False,
    tile: TileSize = "auto",
    progress: Callable[[Progress], None] = lambda progress: None,
    reading: Reading = USUAL,
    quality: int | None = None,
) -> FolderReport:
    """Upscale the pictures of a plan for the folder ``target``; all else as ``upscale_folder``."""
    check_quality(quality, (job.target for job in planned.jobs))
    make_folder(target)
    for folder in {job.target.parent for job in planned.jobs}:
        if folder.is_dir():
            remove_stale(folder)
    run = FolderRun(engine, Record(target), overwrite, tile, progress, planned, reading, quality)
    for job in [job for job in planned.jobs if not run.claim(job, wait=False)]:
        run.claim(job, wait=True)
    return FolderReport(tuple(run.written), tuple(run.skipped), tuple(run.failures), planned.left_out)


def source_digest(path: Path) -> str:
    """SHA-256 of a picture file.

    Raises:
        ImageError: it can't be read.
    """
    try:
        return file_digest(path)
    except OSError as error:
        raise ImageError(f"can't read {path} ({error.strerror}): check that it exists and may be read") from error


def stops_all(error: InputError) -> bool:
    """Whether no other picture could be written either; a name that is too long, for instance, concerns one alone."""
    cause = error.__cause__
    return isinstance(error, OutputError) and (not isinstance(cause, OSError) or cause.errno not in OF_ONE_NAME)


class FolderRun:
    """The state of ``upscale_planned``."""

    def __init__(
        self,
        engine: Engine,
        record: Record,
        overwrite: bool,
        tile: TileSize,
        progress: Callable[[Progress], None],
        planned: Plan,
        reading: Reading,
        quality: int | None,
    ) -> None:
        self.engine, self.record, self.overwrite, self.tile = engine, record, overwrite, tile
        self.progress, self.reading, self.quality = progress, reading, quality
        self.count = len(planned.jobs) + len(planned.failures)
        self.network = engine.fingerprint()
        self.pixels = 0
        self.written: list[Path] = []
        self.skipped: list[Path] = []
        self.failures = list(planned.failures)

    def claim(self, job: Job, wait: bool) -> bool:
        """Upscale one picture, unless another run is at it; then, with ``wait``, when that run is done with it.

        Returns:
            Whether the picture is dealt with.
        """
        self.report_progress(job, 0.0)
        try:
            digest = source_digest(job.source)
        except ImageError as error:
            self.failures.append(Failure(job.source, error))
            return True
        if self.skip_if_done(job, digest):
            return True
        make_folder(job.target.parent)
        with claiming(job.target, wait) as mine:
            if mine and not self.skip_if_done(job, digest):
                self.upscale(job, digest)
        return mine

    def skip_if_done(self, job: Job, digest: str) -> bool:
        """Note a picture as skipped if a run made it; returns whether one did."""
        self.record.refresh()
        done = self.record.is_done(job.target, digest, self.maker(job))
        if done:
            self.skipped.append(job.target)
        return done

    def maker(self, job: Job) -> str:
        """What the record names as the maker of a picture: the network, and the quality if one is asked for."""
        if self.quality is None or not has_quality(job.target.suffix.lower()):
            return self.network
        return f"{self.network} quality {self.quality}"

    def upscale(self, job: Job, digest: str) -> None:
        """Upscale one picture, or record why it failed."""
        try:
            picture = open_picture(job.source, self.reading)
            check_format(picture, job.target, self.engine.facts.scale)
            check_target(job.source, job.target, self.overwrite)
        except InputError as error:
            self.failures.append(Failure(job.source, error))
            return
        try:
            self.write(job, picture, digest)
        except (ImageError, OutputError) as error:
            if stops_all(error):
                raise
            self.failures.append(Failure(job.source, error))

    def write(self, job: Job, picture: AnyPicture, digest: str) -> None:
        """Upscale and record one picture."""
        before = self.pixels

        def pixels_done(done: int, total: int) -> None:
            self.pixels = before + done
            self.report_progress(job, done / total)

        def finished(path: Path) -> None:
            self.record.add(job.target, digest, self.maker(job), file_digest(path))

        write_target(self.engine, picture, job.target, self.tile, self.quality, pixels_done, finished)
        self.written.append(job.target)

    def report_progress(self, job: Job, fraction: float) -> None:
        """Call ``progress``."""
        position = len(self.written) + len(self.skipped) + len(self.failures)
        self.progress(Progress(job.source, position, self.count, fraction, self.pixels))
