"""What ``srquant upscale`` will do, known and checked before a model is loaded."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from srquant.cli.output import check_folder
from srquant.errors import InputError, OutputError

if TYPE_CHECKING:
    from srquant.cli.upscale_choices import Choices
    from srquant.cli.upscale_inputs import Inputs
    from srquant.upscale.jobs.plan import Job, Plan


def one_job(source: Path, output: str, chosen: "Choices") -> "Job":
    """The only picture, and the file to write.

    Args:
        source: the picture.
        output: a file, or a folder, in which the file gets the picture's name.
        chosen: what holds for each picture.

    Raises:
        ImageError: the picture can't be read.
        InputError: the file's name has another format than the one that is asked for.
        OutputError: the file exists, or its format can't be written, or has no quality.
    """
    from srquant.upscale.jobs.one_picture import check_target
    from srquant.upscale.jobs.plan import Job, target_of
    from srquant.upscale.pictures.library import open_picture
    from srquant.upscale.pictures.write import check_quality, check_suffix

    target = Path(output)
    if is_folder(output):
        target = target_of(source, source.parent, target, chosen.suffix)
    elif chosen.suffix is not None:
        check_agrees(target, chosen.suffix)
    check_suffix(target)
    check_quality(chosen.quality, [target])
    open_picture(source, replace(chosen.reading, tolerant=False))  # damage is found, and warned of, when it is read
    check_target(source, target, chosen.overwrite)
    check_folder(target)
    return Job(source, target)


def plan_of(inputs: "Inputs", output: str, chosen: "Choices") -> "Plan":
    """The pictures of folders and of several inputs, and the files to write into the folder ``output``.

    Raises:
        DatasetError: the only folder contains no pictures.
        OutputError: the output isn't a folder, or is one that is read, or no format has a quality.
    """
    from srquant.upscale.jobs.plan import plan, plan_several
    from srquant.upscale.pictures.write import check_quality

    folder = Path(output)
    check_is_folder(output)
    if len(inputs.paths) == 1 and inputs.paths[0].is_dir():
        planned = plan(inputs.paths[0], folder, True, chosen.suffix)
    else:
        planned = plan_several(inputs.paths, folder, chosen.suffix)
    check_quality(chosen.quality, (job.target for job in planned.jobs))
    check_folder(folder / "picture")
    return planned


def is_folder(output: str) -> bool:
    """Whether an output names a folder: an existing one, or by its last character."""
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def check_is_folder(output: str) -> None:
    """Raise an ``OutputError`` where several pictures would be written to what isn't a folder."""
    from srquant.data.formats.kinds import SUFFIXES

    path = Path(output)
    advice = f"give a folder, such as -o {path.with_suffix('') if path.suffix else f'{path}-large'}/"
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file, but several pictures are written: {advice}")
    if not is_folder(output) and path.suffix.lower() in SUFFIXES:
        raise OutputError(f"{path} is the name of one picture, but several are written: {advice}")


def check_agrees(target: Path, suffix: str) -> None:
    """Raise an ``InputError`` where the name of the output has another format than the one that is asked for."""
    from srquant.data.formats.kinds import SUFFIXES

    if SUFFIXES.get(target.suffix.lower()) != SUFFIXES[suffix]:
        raise InputError(
            f"--format {suffix.removeprefix('.')}: the name {target} decides the format; use -o "
            f"{target.with_suffix(suffix)}, or leave --format out"
        )
