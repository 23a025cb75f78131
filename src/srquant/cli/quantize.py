"""``srquant quantize``: quantize a float checkpoint and write a quantized file."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.argument_order import check_order
from srquant.cli.options import DEFAULT_PIXELS, Device, Json, MaxPixels, Overwrite, Scale, usable_cores
from srquant.cli.output import check_json, check_output, make_folder, note, show, spent, write_json
from srquant.cli.page_file import check_page
from srquant.cli.settings import (
    AUTO,
    effort_setting,
    find_method,
    grids,
    grids_setting,
    layer_bits,
    layer_kinds,
    method_config,
    parse_override,
    skip_bits_of,
)
from srquant.errors import CheckpointError, OutputError

if TYPE_CHECKING:
    from srquant.deploy.frozen.freeze import FrozenModel
    from srquant.insertion.policy import Policy
    from srquant.models.network import Network

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", show_default=False, help="Float checkpoint (.pt, .pth, .safetensors).")
]
Calibration = Annotated[
    Path,
    typer.Option(
        metavar="DIR", show_default=False, help="Low-resolution pictures for calibration; no ground truth needed."
    ),
]
Output = Annotated[Path, typer.Option("-o", "--output", show_default=False, help="The .safetensors file to write.")]
MethodName = Annotated[
    str,
    typer.Option(
        "--method",
        help="One of auto, minmax, percentile, mse, ptq4sr, adabm, 2dquant, outlier-aware, gba, distill, tails: see "
        "srquant methods.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An option of the method (srquant methods NAME); repeatable."),
]
EffortName = Annotated[
    str | None,
    typer.Option(
        "--effort", show_default=False, help="auto, distill: how long to learn: quick, normal (default) or long."
    ),
]
RunDir = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="DIR",
        show_default=False,
        help="auto, distill: folder of the curve, and of the state from which the same command continues if it was "
        "stopped; default: OUTPUT with the ending .run.",
    ),
]
FinetuneFlag = Annotated[
    bool,
    typer.Option(
        "--finetune", help="minmax, percentile, mse, tails: learn the bounds, with the float network as teacher."
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        help="With --finetune: together (default), squares (for PSNR), weights (weight bounds only), or published (as "
        "the papers train their baselines).",
    ),
]
Layers = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help="Kinds of layers to quantize: conv, linear, matmul, block-conv (convolutions in residual blocks only), "
        "separated by commas; auto: as in the method's paper.",
    ),
]
WeightBits = Annotated[int, typer.Option("-w", "--weight-bits", help="Bits of the body's weights, 2 to 8.")]
ActivationBits = Annotated[int, typer.Option("-a", "--activation-bits", help="Bits of the body's activations, 2 to 8.")]
EndBits = Annotated[
    str,
    typer.Option(
        metavar="BITS",
        help="Bits of these layers: one number, or W/A for weights/activations; float or 0: not quantized.",
    ),
]
SkipBits = Annotated[str, typer.Option(metavar="float|8", help="Bits of the sums of skip connections.")]
WeightGrids = Annotated[
    str,
    typer.Option(
        "--granularity",
        help="One weight grid per tensor or per output channel; auto: the better one for auto, channel for "
        "distill, tensor for others.",
    ),
]
InputGrids = Annotated[
    str,
    typer.Option(
        "--activation-granularity",
        help="One activation grid per tensor or per input channel; auto: as for weights.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="PATTERN=W/A",
        help="Other bits for layers whose name matches (* and ? as in file names), or =float; repeatable.",
    ),
]
Count = Annotated[int, typer.Option(help="Number of calibration pictures.")]
Patch = Annotated[int, typer.Option(help="Side of the calibration crops in pixels.")]
Seed = Annotated[int, typer.Option(help="Seed of the random choice of pictures and crops.")]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="PATH",
        show_default=False,
        help="Also write a page (.html) that compares the result with the float network on calibration pictures.",
    ),
]


def quantize(
    model: Model,
    calibration: Calibration,
    output: Output,
    method: MethodName = "auto",
    effort: EffortName = None,
    settings: Settings = None,
    finetune: FinetuneFlag = False,
    recipe: Recipe = None,
    layers: Layers = "auto",
    weight_bits: WeightBits = 4,
    activation_bits: ActivationBits = 4,
    head_bits: EndBits = "8",
    tail_bits: EndBits = "8",
    skip_bits: SkipBits = "float",
    granularity: WeightGrids = "auto",
    activation_granularity: InputGrids = "auto",
    override: Overrides = None,
    count: Count = 100,
    patch: Patch = 48,
    seed: Seed = 0,
    max_pixels: MaxPixels = DEFAULT_PIXELS,
    run: RunDir = None,
    scale: Scale = None,
    device: Device = "auto",
    report: ReportFile = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Quantize a float network to 2-8 bits and write it with packed integer weights."""
    start = time.perf_counter()
    check_order(model, [str(calibration)], "MODEL --calibration DIR")
    check_output(output, overwrite)
    if report is not None:
        check_page(report, overwrite)
    check_json(json)

    from srquant.cli.quantize_page import write_page
    from srquant.cli.quantize_run import Inputs, added, finish, kept_float, quantize_network, run_folder
    from srquant.data.calibration import CalibrationSet
    from srquant.deploy.file.graph_record import check_form
    from srquant.deploy.file.save_load import save
    from srquant.deploy.frozen.freeze import freeze
    from srquant.devices import find_device
    from srquant.insertion.policy import LayerBits, Policy
    from srquant.models.load import describe
    from srquant.models.packaged import find_model
    from srquant.report.measured_model import Candidate

    computing = find_device(device)
    chosen = find_method(method)
    policy = Policy(
        LayerBits(weight_bits, activation_bits),
        layer_bits("--head-bits", head_bits),
        layer_bits("--tail-bits", tail_bits),
        skip_bits_of(skip_bits),
        tuple(parse_override(text) for text in override or ()),
        grids(granularity, chosen),
        grids(activation_granularity, chosen),
    )
    options = [
        *effort_setting(effort, chosen),
        *grids_setting((granularity, activation_granularity), chosen),
        *(settings or []),
    ]
    config = method_config(chosen, finetune, recipe, options)
    folder = run_folder(run, output, chosen)
    pictures = CalibrationSet(calibration, count, seed, patch, most_pixels=max_pixels)
    model = find_model(model)
    network = load_float(model, scale)
    check_suffix(output)
    network.facts.check_crops(patch)
    check_form(network)
    policy = replace(policy, kinds=layer_kinds(layers, chosen, network))
    quantized = quantize_network(
        Inputs(chosen, config, network.to(computing), model, policy, pictures), folder, overwrite
    )
    frozen = freeze(quantized)
    make_folder(output)
    save(frozen, output, overwrite)
    finish(folder)
    if report is not None:
        write_page(
            Candidate(model.stem, model, network.cpu()), Candidate(output.stem, output, frozen), pictures, report
        )
        note(f"{report}: {report.stat().st_size:,} bytes")
    took = spent(start)
    size, before = output.stat().st_size, model.stat().st_size
    show(
        describe(network),
        f"grids: one per {quantized.policy.granularity} of weights, per {quantized.policy.activation_granularity} of "
        "activations",
        *(kinds_chosen(network, policy) if layers == AUTO else []),
        *kept_float(network, policy, quantized.policy),
        *(gain(network, frozen) if layers == AUTO else []),
        f"{took['seconds']:.1f} s, peak memory {took['peak_rss_mb']:,.0f} MB",
        f"{output}: {size:,} bytes, {100 * size / before:.1f} % of {model.name}",
        json_to=json,
    )
    write_json(
        {
            "path": str(output),
            "bytes": size,
            "float_bytes": before,
            "granularity": quantized.policy.granularity,
            "activation_granularity": quantized.policy.activation_granularity,
            "kept_float": [override.pattern for override in added(policy, quantized.policy)],
            **took,
        },
        json,
    )


def check_suffix(output: Path) -> None:
    """Raise an ``OutputError`` where a quantized file would get the name of something else."""
    from srquant.data.formats.kinds import SUFFIXES
    from srquant.models.checkpoint import EXPORTED

    suffix = output.suffix.lower()
    if suffix in EXPORTED or suffix in SUFFIXES:
        export = "; srquant export writes .xml and .onnx of it" if suffix in EXPORTED else ""
        raise OutputError(
            f"{output}: a quantized file is not {suffix}; use -o {output.with_suffix('.safetensors')}{export}"
        )


def kinds_chosen(network: "Network", policy: "Policy") -> list[str]:
    """A line on the kinds of layers that ``auto`` chose in a network with attention; nothing for others."""
    from srquant.methods.default_layer_kinds import has_products

    if not has_products(network):
        return []
    return [f"attention: {', '.join(policy.kinds)} quantized, as published"]


def gain(network: "Network", frozen: "FrozenModel") -> list[str]:
    """A line on the times of a network with attention and of its float network; nothing for others.

    Such networks have much that isn't quantized, so that only measuring tells which is faster.
    """
    from srquant.errors import EngineError
    from srquant.measure.speed.gain import measured_gain
    from srquant.methods.default_layer_kinds import has_products

    if not has_products(network):
        return []
    note("timing the quantized and the float network")
    try:
        return [str(measured_gain(network.cpu(), frozen.network.cpu(), usable_cores()))]
    except EngineError as error:
        return [f"not timed in OpenVINO: {error}"]


def load_float(path: Path, scale: int | None) -> "Network":
    """A float network.

    Raises:
        CheckpointError: the file can't be loaded, or is already quantized.
    """
    from srquant.deploy.file.save_load import is_quantized_file
    from srquant.models.load import load_model

    if path.is_file() and is_quantized_file(path):
        raise CheckpointError(f"{path} is already quantized; give the float checkpoint")
    return load_model(path, scale)
