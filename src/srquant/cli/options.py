"""Arguments and options that several subcommands share, and how their values are read."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from srquant.data.formats.limits import MOST_WHOLE
from srquant.errors import InputError

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="Checkpoint (.pt, .pth, .safetensors), quantized file, or edsr_small_x2 (packaged).",
    ),
]
AnyModel = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="Checkpoint (.pt, .pth, .safetensors), quantized file, exported model (.xml, .onnx), or edsr_small_x2.",
    ),
]
Scale = Annotated[int | None, typer.Option(help="Upscaling factor, if the checkpoint contains several.")]
Depth = Annotated[
    int | None,
    typer.Option(help="Number of residual blocks to run, if the model was trained for several depths; default: all."),
]
Engine = Annotated[
    str, typer.Option(help="auto (the fastest that works), torch, openvino, onnxruntime, or triton (CUDA devices).")
]
DEVICE_HELP = "auto (the first GPU: CUDA, else mps; else the CPU), cpu, cuda, cuda:N or mps."
Device = Annotated[str, typer.Option(metavar="NAME", help=DEVICE_HELP)]
Precision = Annotated[
    str,
    typer.Option(
        metavar="auto|32|16|bf16",
        help="Numbers of a float network in PyTorch: float32, float16 or bfloat16; auto: 16 on CUDA, else 32.",
    ),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Compile a float network with PyTorch: slow start, then faster."),
]
FloatPrecision = Annotated[
    str,
    typer.Option(
        metavar="f32|bf16",
        help="Numbers that OpenVINO computes with where nothing is quantized: float32, or bfloat16, which is faster on "
        "some processors, but gives another picture.",
    ),
]
Json = Annotated[
    str | None, typer.Option("--json", metavar="PATH|-", help="Write the results as JSON to a file, or - for stdout.")
]
MaxPixels = Annotated[int, typer.Option(min=1, metavar="N", show_default="2^27", help="Most pixels of a picture.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Number of threads; default: all cores.")]
InputSize = Annotated[str, typer.Option("--input", metavar="HxW", help="Size of the low-resolution picture.")]

DEFAULT_INPUT = "180x320"
DEFAULT_PIXELS = MOST_WHOLE


def input_size(text: str) -> tuple[int, int]:
    """Height and width of ``180x320``.

    Raises:
        InputError: the text has another form.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise InputError(f"--input {text}: give height x width in pixels, such as {DEFAULT_INPUT}")
    return int(match[1]), int(match[2])


def tile_size(text: str) -> int | Literal["auto"]:
    """Side of a tile in pixels.

    Raises:
        InputError: neither ``auto`` nor a positive number.
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--tile {text}: give auto or a number of pixels such as 256")
    return int(text)


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
