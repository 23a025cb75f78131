"""Which pictures of one or several folders are upscaled, and under which names."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srquant.data.find import LeftOut, find_pictures
from srquant.data.formats.kinds import SUFFIXES
from srquant.errors import DatasetError, InputError, OutputError
from srquant.upscale.pictures.write import SAVERS


@dataclass(frozen=True)
class Job:
    """One picture to upscale."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Failure:
    """A picture that could not be upscaled, or a folder that could not be listed, and why."""

    source: Path
    error: InputError


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        jobs: sorted by the names of the sources.
        failures: pictures without a name of their own, and folders that could not be listed.
        left_out: what isn't read.
    """

    jobs: tuple[Job, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[LeftOut, ...]


def plan(source: Path, target: Path, recursive: bool, suffix: str | None) -> Plan:
    """Find the pictures of a folder and name their targets; what is in ``target`` is not read.

    Raises:
        DatasetError: ``source`` contains no pictures.
        OutputError: ``target`` is ``source``.
    """
    check_other_folder(source, target)
    return without_clashes([in_folder(source, target, target, recursive, suffix)])


def plan_several(sources: Iterable[Path], target: Path, suffix: str | None) -> Plan:
    """Name the targets of pictures, which are written into ``target``, and of folders, which become subfolders there.

    A folder without pictures is a failure.

    Args:
        sources: picture files and folders; the same picture counts once.
        target: folder to write; what is in it is not read.
        suffix: format of all targets; default: that of each source, or ``.png`` if it can't be written.

    Raises:
        OutputError: ``target`` is one of the sources.
    """
    return without_clashes([part_of(source, target, suffix) for source in sources])


def part_of(source: Path, target: Path, suffix: str | None) -> Plan:
    """What one of several sources adds to their plan; errors as ``plan_several``."""
    if not source.is_dir():
        return Plan((Job(source, target_of(source, source.parent, target, suffix)),), (), ())
    check_other_folder(source, target)
    try:
        return in_folder(source, target / name_of(source), target, True, suffix)
    except DatasetError as error:
        return Plan((), (Failure(source, error),), ())


def name_of(folder: Path) -> str:
    """The name of a folder, also where it is given as ``.`` or ``..``."""
    return folder.resolve().name if folder.name in ("", "..") else folder.name


def check_other_folder(source: Path, target: Path) -> None:
    """Raise an ``OutputError`` if a folder would be upscaled into itself."""
    if source.resolve() == target.resolve():
        raise OutputError(f"{target} is the folder to read: write to another folder")


def in_folder(source: Path, mirror: Path, target: Path, recursive: bool, suffix: str | None) -> Plan:
    """The pictures of a folder, which ``mirror`` will have too; a ``target`` inside the folder is not read.

    Raises:
        DatasetError: the folder contains no pictures.
    """
    found, written = find_pictures(source, recursive), target.resolve()
    within = written.is_relative_to(source.resolve())

    def is_read(path: Path) -> bool:
        return not (within and path.resolve().is_relative_to(written))

    jobs = [Job(path, target_of(path, source, mirror, suffix)) for path in found.pictures if is_read(path)]
    left_out = tuple(item for item in found.left_out if is_read(item.path))
    return Plan(tuple(jobs), tuple(closed(found.closed)), left_out)


def without_clashes(parts: Sequence[Plan]) -> Plan:
    """All parts as one plan, in which no two pictures have one target."""
    jobs = [job for part in parts for job in part.jobs]
    owners = named(jobs)
    others = [(job, owners[job.target]) for job in jobs if owners[job.target] is not job]
    clashes = [clash(job, owner) for job, owner in others if job.source.resolve() != owner.source.resolve()]
    failures = [failure for part in parts for failure in part.failures]
    return Plan(tuple(owners.values()), (*clashes, *failures), tuple(item for part in parts for item in part.left_out))


def target_of(path: Path, source: Path, target: Path, suffix: str | None) -> Path:
    """The target of a picture: its own format if that can be written, else PNG, unless one is given."""
    kept = path.suffix if path.suffix.lower() in SAVERS else ".png"
    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return target / path.relative_to(source).with_name(name + (suffix or kept))


def named(jobs: list[Job]) -> dict[Path, Job]:
    """The picture that gets each name: the one that has it already, or else the first one."""
    owners: dict[Path, Job] = {}
    for job in jobs:
        owner = owners.setdefault(job.target, job)
        if job.source.name == job.target.name != owner.source.name:
            owners[job.target] = job
    return owners


def clash(job: Job, owner: Job) -> Failure:
    """The failure of a picture whose name another one gets."""
    error = OutputError(
        f"{job.source} and {owner.source} would both become {job.target}, which is made of the latter: rename one"
    )
    return Failure(job.source, error)


def closed(folders: tuple[LeftOut, ...]) -> Iterator[Failure]:
    """The failures of folders that could not be listed."""
    for item in folders:
        yield Failure(item.path, InputError(f"{item.path} {item.reason}"))
