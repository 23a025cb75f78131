"""``srquant train``: train a float or quantized network with high-resolution pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from srquant.cli.options import DEFAULT_PIXELS, DEVICE_HELP, MaxPixels, Scale
from srquant.cli.quantize import EndBits, Layers, Overrides, Settings
from srquant.cli.settings import layer_bits, layer_kinds, parse_override
from srquant.cli.start_identity import start_identity
from srquant.cli.train_inputs import body_bits, find_trained, first_network

if TYPE_CHECKING:
    from srquant.training.processes import Precision

MethodName = Annotated[str, typer.Option("--method", show_default=False, help="Training method, see srquant methods.")]
Init = Annotated[
    str,
    typer.Option(
        metavar="CKPT",
        show_default=False,
        help="Float checkpoint or edsr_small_x2 (packaged); --method float can also start from random weights: "
        "edsr:blocks=16,features=64,scale=2.",
    ),
]
High = Annotated[
    list[Path], typer.Option("--hr", metavar="DIR", show_default=False, help="High-resolution pictures; repeatable.")
]
Low = Annotated[
    list[Path] | None,
    typer.Option(
        "--lr",
        metavar="DIR",
        show_default=False,
        help="Low-resolution versions NAMExS.png or NAME.png, one DIR per --hr; default: made by bicubic downscaling.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="RUN_DIR",
        show_default=False,
        help="Folder of the run; a stopped run in it is continued.",
    ),
]
WeightBits = Annotated[
    int | None, typer.Option("-w", "--weight-bits", show_default="4", help="Bits of the body's weights, 2 to 8.")
]
ActivationBits = Annotated[
    int | None,
    typer.Option("-a", "--activation-bits", show_default="4", help="Bits of the body's activations, 2 to 8."),
]
Steps = Annotated[int, typer.Option(help="Number of optimizer steps; the method's schedule is scaled to it.")]
Batch = Annotated[int, typer.Option(help="Crops per step and process.")]
Patch = Annotated[int, typer.Option(help="Side of the low-resolution crops in pixels.")]
Seed = Annotated[int, typer.Option(help="Seed of crops and random numbers.")]
ValidationSets = Annotated[
    list[Path] | None,
    typer.Option("--validate", metavar="DIR", help="Benchmark set (folder with HR) for validation; repeatable."),
]
ValidateEvery = Annotated[int, typer.Option(help="Steps between two validations.")]
Ema = Annotated[
    float, typer.Option(help="Decay of a moving average of the weights, which becomes the result; 0: no average.")
]
LogEvery = Annotated[int, typer.Option(help="Steps per row of metrics.csv.")]
CheckpointEvery = Annotated[int, typer.Option(help="Steps between two checkpoints.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events as well.")]
Devices = Annotated[int, typer.Option(help="Number of processes on this machine, one device each.")]
Nodes = Annotated[int, typer.Option("--num-nodes", help="Number of machines; start the command on each.")]
DeviceName = Annotated[str, typer.Option("--device", "--accelerator", metavar="NAME", help=DEVICE_HELP)]
PrecisionName = Annotated[str, typer.Option("--precision", help="32 or bf16.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start again from step 0 instead of continuing the run in RUN_DIR.")
]


def train(
    method: MethodName,
    init: Init,
    hr: High,
    output: Output,
    lr: Low = None,
    weight_bits: WeightBits = None,
    activation_bits: ActivationBits = None,
    head_bits: EndBits = "float",
    tail_bits: EndBits = "float",
    layers: Layers = "auto",
    override: Overrides = None,
    settings: Settings = None,
    steps: Steps = 10000,
    batch: Batch = 16,
    patch: Patch = 48,
    seed: Seed = 0,
    max_pixels: MaxPixels = DEFAULT_PIXELS,
    ema: Ema = 0.0,
    validate: ValidationSets = None,
    validate_every: ValidateEvery = 1000,
    log_every: LogEvery = 100,
    checkpoint_every: CheckpointEvery = 1000,
    tensorboard: TensorBoard = False,
    devices: Devices = 1,
    num_nodes: Nodes = 1,
    device: DeviceName = "auto",
    precision: PrecisionName = "32",
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a quantized or float network with high-resolution pictures; the same command continues a stopped run."""
    from srquant.cli.train_run import Inputs, memory_for_pictures, run_training
    from srquant.data.benchmark import BenchmarkSet
    from srquant.data.pairs import PairSet
    from srquant.insertion.policy import LayerBits, Policy
    from srquant.methods.options import configure
    from srquant.training.processes import Processes
    from srquant.training.run_folder import RunFolder
    from srquant.training.run_settings import Run

    chosen = find_trained(method)
    config = configure(chosen.config, settings or [])
    processes = Processes(devices, num_nodes, device, cast("Precision", precision))
    run = Run(steps, batch, seed, ema, log_every, checkpoint_every, validate_every, tensorboard)
    bits = LayerBits(*body_bits(method, weight_bits, activation_bits))
    ends = layer_bits("--head-bits", head_bits), layer_bits("--tail-bits", tail_bits)
    overrides = tuple(parse_override(text) for text in override or ())
    network = first_network(init, method, scale, seed)
    network.facts.check_crops(patch)
    policy = Policy(bits, *ends, overrides=overrides, kinds=layer_kinds(layers, chosen, network))
    memory = memory_for_pictures(processes.devices)
    pairs = PairSet(tuple(hr), network.facts.scale, patch, seed, tuple(lr or ()), memory, max_pixels)
    sets = [BenchmarkSet(path, network.facts.scale, max_pixels) for path in validate or []]
    inputs = Inputs(chosen, config, network, start_identity(init), policy, pairs, sets, run)
    run_training(inputs, processes, RunFolder(output), overwrite)
