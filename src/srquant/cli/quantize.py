"""``srquant quantize``: checkpoint -> quantized file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, cast

import typer

from srquant.cli.options import Overwrite, Scale
from srquant.cli.output import check_output, progress, show
from srquant.errors import CheckpointError, PolicyError, suggest

if TYPE_CHECKING:
    from srquant.quant.policy import Granularity, LayerBits, Override

Thing = TypeVar("Thing")

FLOAT = ("0", "float")
"""How a user says that something stays float."""

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", show_default=False, help="Float checkpoint (.pt, .pth, .safetensors).")
]
Calibration = Annotated[
    Path, typer.Option(metavar="DIR", show_default=False, help="Low-resolution pictures; no ground truth needed.")
]
Output = Annotated[Path, typer.Option("-o", "--output", show_default=False, help="The .safetensors file to write.")]
MethodName = Annotated[str, typer.Option("--method", help="How ranges are found: minmax, percentile, mse or tails.")]
FinetuneFlag = Annotated[bool, typer.Option("--finetune", help="Learn the bounds from the float network's outputs.")]
Recipe = Annotated[str, typer.Option(help="How to finetune: together, weights (alone), or published as for baselines.")]
WeightBits = Annotated[int, typer.Option("-w", "--weight-bits", help="Bits of the body's weights, 2 to 8.")]
ActivationBits = Annotated[int, typer.Option("-a", "--activation-bits", help="Bits of its activations, 2 to 8.")]
EndBits = Annotated[str, typer.Option(metavar="BITS", help="BITS or W/A of these layers; float (or 0) keeps them so.")]
SkipBits = Annotated[str, typer.Option(metavar="float|8", help="Bits of the sums after residual adds.")]
WeightGrids = Annotated[str, typer.Option("--granularity", help="One weight grid per tensor or per output channel.")]
InputGrids = Annotated[
    str, typer.Option("--activation-granularity", help="One activation grid per tensor or per input channel.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override", metavar="PATTERN=W/A", help="Other bits for layers by name (* ?), or =float; repeatable."
    ),
]
Count = Annotated[int, typer.Option(help="Calibration pictures.")]
Patch = Annotated[int, typer.Option(help="Side of their crops in pixels.")]
Seed = Annotated[int, typer.Option(help="Decides which pictures and crops.")]


def quantize(
    model: Model,
    calibration: Calibration,
    output: Output,
    method: MethodName = "minmax",
    finetune: FinetuneFlag = False,
    recipe: Recipe = "together",
    weight_bits: WeightBits = 4,
    activation_bits: ActivationBits = 4,
    head_bits: EndBits = "8",
    tail_bits: EndBits = "8",
    skip_bits: SkipBits = "float",
    granularity: WeightGrids = "tensor",
    activation_granularity: InputGrids = "tensor",
    override: Overrides = None,
    count: Count = 100,
    patch: Patch = 48,
    seed: Seed = 0,
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """Quantize a float network to 2-8 bits and write it with packed integer weights."""
    check_output(output, overwrite)

    from srquant.data.calibration import CalibrationSet
    from srquant.deploy.file import is_quantized_file, save
    from srquant.deploy.freeze import freeze
    from srquant.methods import METHODS
    from srquant.methods.options import configure
    from srquant.models.load import describe, load_model
    from srquant.models.packaged import find_model
    from srquant.quant.policy import LayerBits, Policy

    policy = Policy(
        LayerBits(weight_bits, activation_bits),
        layer_bits("--head-bits", head_bits),
        layer_bits("--tail-bits", tail_bits),
        skip(skip_bits),
        tuple(parse_override(text) for text in override or ()),
        cast("Granularity", granularity),
        cast("Granularity", activation_granularity),
    )
    chosen = find(method, METHODS, "method")
    config = configure(chosen.config, [f"finetune={recipe}"] if finetune else [])
    pictures = CalibrationSet(calibration, count, seed, patch)
    model = find_model(model)
    if model.is_file() and is_quantized_file(model):
        raise CheckpointError(f"{model} is quantized already; give the float checkpoint")
    network = load_model(model, scale)
    with progress() as step:
        quantized = chosen.quantize(network, pictures, policy, config, step)
    save(freeze(quantized), output, overwrite)
    size, before = output.stat().st_size, model.stat().st_size
    show(describe(network), f"{output}: {size:,} bytes, {100 * size / before:.1f} % of {model.name}")


def find(name: str, known: Mapping[str, Thing], what: str) -> Thing:
    """The method or recipe called ``name``.

    Raises:
        PolicyError: there is none.
    """
    if name not in known:
        raise PolicyError(f"no {what} is called {name!r}; {suggest(name, known)}")
    return known[name]


def layer_bits(what: str, text: str) -> "LayerBits | None":
    """Bits from ``8``, ``4/8`` (weights/activations), or ``float``.

    Raises:
        PolicyError: anything else.
    """
    from srquant.quant.policy import LayerBits

    if text in FLOAT:
        return None
    weight, slash, activation = text.partition("/")
    activation = activation if slash else weight
    if not (weight.isdecimal() and activation.isdecimal()):
        raise PolicyError(f"{what} {text}: give bits such as 8 or 4/8 (weights/activations), or float")
    return LayerBits(int(weight), int(activation))


def skip(text: str) -> Literal[8] | None:
    """Bits of the skip stream.

    Raises:
        PolicyError: neither 8 nor float.
    """
    if text in FLOAT:
        return None
    if text != "8":
        raise PolicyError(f"--skip-bits {text}: give float or 8")
    return 8


def parse_override(text: str) -> "Override":
    """An override from ``body.3.*=4/8``.

    Raises:
        PolicyError: it doesn't look like that.
    """
    from srquant.quant.policy import Override

    pattern, equals, bits = text.rpartition("=")
    if not equals or not pattern:
        raise PolicyError(f"--override {text}: give PATTERN=W/A such as 'body.*=4/8', or PATTERN=float")
    return Override(pattern, layer_bits("--override", bits))
