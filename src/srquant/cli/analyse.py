"""``srquant analyse``: the papers' analyses, each as numbers and a figure."""

from typing import Annotated

import typer

from srquant.cli.analyse_inputs import (
    Calibration,
    Count,
    FloatModel,
    Folder,
    Patch,
    Seed,
    check_results,
    write_results,
)
from srquant.cli.options import Overwrite, Scale
from srquant.cli.output import progress
from srquant.cli.quantize import load_float

WeightBits = Annotated[int, typer.Option("-w", "--weight-bits", help="Bits of the weights, 2 to 8.")]
ActivationBits = Annotated[int, typer.Option("-a", "--activation-bits", help="Bits of the activations, 2 to 8.")]


def sensitivity(
    model: FloatModel,
    calibration: Calibration,
    output: Folder,
    weight_bits: WeightBits = 4,
    activation_bits: ActivationBits = 4,
    count: Count = 16,
    patch: Patch = 48,
    seed: Seed = 0,
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """Sensitivity of each layer by GBA, AdaBM and outlier-aware, beside the measured error of quantizing it alone."""
    from srquant.analyse.sensitivity import NAMES, measure_sensitivities, sensitivity_files
    from srquant.data.calibration import CalibrationSet
    from srquant.insertion.policy import LayerBits
    from srquant.models.packaged import find_model

    check_results(output, NAMES, overwrite)
    bits = LayerBits(weight_bits, activation_bits)
    crops = CalibrationSet(calibration, count, seed, patch)
    network = load_float(find_model(model), scale)
    network.facts.check_crops(patch)
    with progress() as step:
        found = measure_sensitivities(network, crops, bits, step)
    write_results(sensitivity_files(found, bits), output)


app = typer.Typer(no_args_is_help=True, help="Numbers and figures as papers print them, one file of each per analysis.")

ANALYSES = {
    sensitivity: "sensitivity edsr.pt --calibration DIR -w 4 -a 4 -o DIR",
}

for analysis, example in ANALYSES.items():
    app.command(
        analysis.__name__.replace("_", "-"),
        epilog=f"Example: [bold]srquant analyse {example}[/bold]",
        context_settings={"help_option_names": ["-h", "--help"]},
    )(analysis)
