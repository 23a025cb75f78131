"""``srquant train``: pictures and a float network -> a trained network, float or quantized."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from srquant.cli.options import Scale
from srquant.cli.quantize import EndBits, Layers, Overrides, Settings
from srquant.cli.settings import layer_bits, layer_kinds, parse_override
from srquant.cli.train_inputs import body_bits, content_of, find_trained, first_network

if TYPE_CHECKING:
    from srquant.training.processes import Accelerator, Precision

MethodName = Annotated[str, typer.Option("--method", show_default=False, help="See srquant methods.")]
Init = Annotated[
    str,
    typer.Option(
        metavar="CKPT",
        show_default=False,
        help="Float checkpoint, edsr_small_x2 (packaged), or for float edsr:blocks=16,features=64,scale=2 to start "
        "from random weights.",
    ),
]
High = Annotated[
    list[Path], typer.Option("--hr", metavar="DIR", show_default=False, help="True pictures; may be repeated.")
]
Low = Annotated[
    list[Path] | None,
    typer.Option(
        "--lr",
        metavar="DIR",
        show_default=False,
        help="Their low-resolution versions NAMExS.png or NAME.png, one DIR per --hr; made by bicubic if left out.",
    ),
]
Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="RUN_DIR", show_default=False, help="Folder of the run.")
]
WeightBits = Annotated[
    int | None, typer.Option("-w", "--weight-bits", show_default="4", help="Bits of the body's weights, 2 to 8.")
]
ActivationBits = Annotated[
    int | None, typer.Option("-a", "--activation-bits", show_default="4", help="Bits of its activations, 2 to 8.")
]
Steps = Annotated[int, typer.Option(help="Steps of the optimizer; schedules are shares of them.")]
Batch = Annotated[int, typer.Option(help="Crops per step and process.")]
Patch = Annotated[int, typer.Option(help="Side of the low-resolution crops in pixels.")]
Seed = Annotated[int, typer.Option(help="Decides crops and random weights.")]
ValidationSets = Annotated[
    list[Path] | None, typer.Option("--validate", metavar="DIR", help="Benchmark set with HR; may be repeated.")
]
ValidateEvery = Annotated[int, typer.Option(help="Steps between two validations.")]
Ema = Annotated[float, typer.Option(help="Decay of a moving average of the weights, the result then; 0 for none.")]
LogEvery = Annotated[int, typer.Option(help="Steps per row of metrics.csv.")]
CheckpointEvery = Annotated[int, typer.Option(help="Steps between two checkpoints.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events as well.")]
Devices = Annotated[int, typer.Option(help="Processes on this machine, one device each.")]
Nodes = Annotated[int, typer.Option("--num-nodes", help="Machines; the command is started on each.")]
AcceleratorName = Annotated[str, typer.Option("--accelerator", help="auto, cpu or cuda.")]
PrecisionName = Annotated[str, typer.Option("--precision", help="32 or bf16.")]
Anew = Annotated[bool, typer.Option("--overwrite", help="Start anew instead of continuing the run in RUN_DIR.")]


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
    ema: Ema = 0.0,
    validate: ValidationSets = None,
    validate_every: ValidateEvery = 1000,
    log_every: LogEvery = 100,
    checkpoint_every: CheckpointEvery = 1000,
    tensorboard: TensorBoard = False,
    devices: Devices = 1,
    num_nodes: Nodes = 1,
    accelerator: AcceleratorName = "auto",
    precision: PrecisionName = "32",
    scale: Scale = None,
    overwrite: Anew = False,
) -> None:
    """Train a network against true pictures, quantized or float; the same command continues a run that was stopped."""
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
    processes = Processes(devices, num_nodes, cast("Accelerator", accelerator), cast("Precision", precision))
    run = Run(steps, batch, seed, ema, log_every, checkpoint_every, validate_every, tensorboard)
    bits = LayerBits(*body_bits(method, weight_bits, activation_bits))
    ends = layer_bits("--head-bits", head_bits), layer_bits("--tail-bits", tail_bits)
    overrides = tuple(parse_override(text) for text in override or ())
    network = first_network(init, method, scale, seed)
    policy = Policy(bits, *ends, overrides=overrides, kinds=layer_kinds(layers, chosen, network))
    pairs = PairSet(
        tuple(hr), network.facts.scale, patch, seed, tuple(lr or ()), memory_for_pictures(processes.devices)
    )
    sets = [BenchmarkSet(path, network.facts.scale) for path in validate or []]
    inputs = Inputs(chosen, config, network, content_of(init), policy, pairs, sets, run)
    run_training(inputs, processes, RunFolder(output), overwrite)
