"""Which pictures of a folder are upscaled, and under which names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from srquant.data.find import LeftOut, find_pictures
from srquant.errors import InputError, OutputError
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
    """What is to be done for a folder.

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
    if source.resolve() == target.resolve():
        raise OutputError(f"{target} is the folder to read: write to another folder")
    found = find_pictures(source, recursive)
    written = target.resolve()
    pictures = [path for path in found.pictures if not path.resolve().is_relative_to(written)]
    jobs = [Job(path, target_of(path, source, target, suffix)) for path in pictures]
    owners = named(jobs)
    clashes = [clash(job, owners[job.target]) for job in jobs if owners[job.target] != job]
    left_out = tuple(item for item in found.left_out if not item.path.resolve().is_relative_to(written))
    return Plan(tuple(owners.values()), (*clashes, *closed(found.closed)), left_out)


def target_of(path: Path, source: Path, target: Path, suffix: str | None) -> Path:
    """The target of a picture: its own format if that can be written, else PNG, unless one is given."""
    kept = path.suffix if path.suffix.lower() in SAVERS else ".png"
    return (target / path.relative_to(source)).with_suffix(suffix or kept)


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
