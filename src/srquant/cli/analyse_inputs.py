"""Options that several analyses share, and what is checked before their long work."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.bars import Step
from srquant.cli.output import check_output, show
from srquant.cli.quantize import load_float
from srquant.errors import ImageError, InputError, OutputError
from srquant.models.packaged import find_model

if TYPE_CHECKING:
    from srquant.analyse.progress import Run
    from srquant.analyse.result_files import Files
    from srquant.data.calibration import CalibrationSet
    from srquant.deploy.frozen.freeze import FrozenModel
    from srquant.insertion.policy import LayerBits
    from srquant.models.network import Network
    from srquant.report.crops import Pixels

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
QuantizedFile = Annotated[
    Path, typer.Argument(metavar="FILE", show_default=False, help="Quantized file (.safetensors).")
]
FilesAfterModel = Annotated[
    list[Path], typer.Argument(metavar="FILE...", show_default=False, help="Quantized files that were made of MODEL.")
]
Models = Annotated[
    list[Path],
    typer.Argument(metavar="MODEL...", show_default=False, help="Checkpoints and quantized files, all of one scale."),
]
Pictures = Annotated[
    list[Path], typer.Argument(metavar="IMAGE...", show_default=False, help="Pictures of low resolution.")
]
PictureAfterModel = Annotated[
    Path, typer.Argument(metavar="IMAGE", show_default=False, help="A picture of low resolution.")
]
RunFolderArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN_DIR", show_default=False, help="Folder of a run of srquant train --method quantsr."),
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

ShownLayer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="The layer whose pictures are drawn; default: the one that varies most from picture to picture.",
    ),
]
ShownLayers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        show_default=False,
        help="Layers to draw (* and ? as in file names), repeatable; default: the first, a middle and the last one "
        "between head and tail. The numbers have all layers.",
    ),
]


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


def network_and_crops(
    model: Path, scale: int | None, calibration: Path, count: int, patch: int, seed: int
) -> "tuple[Network, CalibrationSet]":
    """A float network, and calibration crops that it can take.

    Raises:
        DatasetError: the pictures can't be used, or the network can't take crops of this size.
        CheckpointError: as ``load_float``.
    """
    from srquant.data.calibration import CalibrationSet

    crops = CalibrationSet(calibration, count, seed, patch)
    network = load_float(find_model(model), scale)
    network.facts.check_crops(patch)
    return network, crops


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


def some_layers(patterns: Sequence[str] | None, network: "Network") -> list[str]:
    """The layers that patterns name, in the network's order; without patterns three of the body.

    Raises:
        PolicyError: a pattern names none.
    """
    from srquant.insertion.plan import matching_layers, quantizable_layers

    names = quantizable_layers(network)
    if patterns:
        wanted = {name for pattern in patterns for name in matching_layers(pattern, names)}
        return [name for name in names if name in wanted]
    body = [name for name in names if name not in network.facts.ends] or names
    return list(dict.fromkeys((body[0], body[len(body) // 2], body[-1])))


def one_layer(pattern: str, network: "Network") -> str:
    """The layer that a pattern names.

    Raises:
        PolicyError: it names none.
        InputError: it names several.
    """
    found = some_layers([pattern], network)
    if len(found) > 1:
        raise InputError(f"--layer {pattern} names {len(found)} layers, such as {found[0]} and {found[1]}: name one")
    return found[0]


def check_original(path: Path, original: "Pixels", low_path: Path, low: "Pixels", scale: int) -> None:
    """Raise an ``ImageError`` unless one picture is ``scale`` times as large as the other."""
    wanted = scale * low.shape[0], scale * low.shape[1]
    if original.shape[:2] != wanted:
        raise ImageError(
            f"{path} has {original.shape[0]}x{original.shape[1]} pixels, but {low_path} x{scale} gives "
            f"{wanted[0]}x{wanted[1]}: give an original of this size, or leave --original out"
        )


def method_run(text: str, bits: "LayerBits", network: "Network") -> "Run":
    """A method and its options from text such as ``gba:rates=relative``; head and tail have 8 bits, as by default.

    Raises:
        PolicyError: no such method or option.
    """
    from srquant.analyse.progress import Run
    from srquant.cli.settings import find_method, method_config
    from srquant.insertion.policy import Policy
    from srquant.methods.default_layer_kinds import default_layer_kinds

    name, *options = text.split(":")
    method = find_method(name)
    grids = method.granularity
    kinds = default_layer_kinds(method, network)
    policy = Policy(bits, granularity=grids, activation_granularity=grids, kinds=kinds)
    return Run(text, method, method_config(method, False, None, options), policy)


def named_step(step: Step, label: str, stage: str, done: int, total: int) -> None:
    """A step of one of several methods."""
    step(f"{label}: {stage}", done, total)
