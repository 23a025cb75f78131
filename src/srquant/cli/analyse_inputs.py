"""Options that several analyses share, and what is checked before their long work."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.output import check_output, show
from srquant.errors import InputError, OutputError

if TYPE_CHECKING:
    from srquant.analyse.result_files import Files
    from srquant.deploy.frozen.freeze import FrozenModel
    from srquant.models.network import Network

FloatModel = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="Float checkpoint (.pt, .pth, .safetensors), or edsr_small_x2 (packaged).",
    ),
]
QuantizedFiles = Annotated[
    list[Path], typer.Argument(metavar="FILE...", show_default=False, help="Quantized files (.safetensors).")
]
Calibration = Annotated[
    Path, typer.Option(metavar="DIR", show_default=False, help="Low-resolution pictures; crops of them are looked at.")
]
Folder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", show_default=False, help="Folder for numbers and figure.")
]
Count = Annotated[int, typer.Option(help="Number of pictures, one crop of each.")]
Patch = Annotated[int, typer.Option(help="Side of the crops in pixels.")]
Seed = Annotated[int, typer.Option(help="Seed of the random choice of pictures and crops.")]


def check_results(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    """Check, before any long work, that an analysis can write its files.

    Raises:
        OutputError: the folder is a file, or one of the files exists and ``overwrite`` is False.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: name the folder for the results with -o")
    for name in names:
        check_output(folder / name, overwrite)


def write_results(files: "Files", folder: Path) -> None:
    """Write what an analysis found, and name the files."""
    from srquant.analyse.result_files import write_files

    write_files(files, folder)
    show(*(f"{folder / name}: {len(content):,} bytes" for name, content in files.items()))


def open_quantized(path: Path) -> "FrozenModel":
    """A quantized file.

    Raises:
        InputError: it holds a float network.
        QuantizedFileError, CheckpointError: as ``open_model``.
    """
    from srquant.deploy.file.open_model import open_model
    from srquant.deploy.frozen.freeze import FrozenModel

    model = open_model(path)
    if not isinstance(model, FrozenModel):
        raise InputError(f"{path} is a float network: give quantized files, which 'srquant quantize' makes")
    return model


def made_of(path: Path, network: "Network", start: Path) -> "FrozenModel":
    """A quantized file that was made of a float network.

    Raises:
        InputError: it has other layers than the network, or it is float.
    """
    from srquant.report.measured_model import same_network

    model = open_quantized(path)
    if not same_network(model, network):
        found, wanted = model.network.facts, network.facts
        raise InputError(
            f"{path} ({found.architecture} x{found.scale}) has other layers than {start} ({wanted.architecture} "
            f"x{wanted.scale}): give the float network that it was made of"
        )
    return model


def labels_of(paths: Sequence[Path]) -> list[str]:
    """What models are called: by their file; with its folder where several have one name."""
    stems = [path.stem for path in paths]
    return [path.stem if stems.count(path.stem) == 1 else str(path) for path in paths]
