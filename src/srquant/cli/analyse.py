"""``srquant analyse``: the papers' analyses, each as numbers and a figure."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from srquant.cli.analyse_inputs import (
    Calibration,
    Count,
    FilesAfterModel,
    FloatModel,
    Folder,
    Models,
    Patch,
    PictureAfterModel,
    Pictures,
    QuantizedFile,
    QuantizedFiles,
    RunFolderArgument,
    Seed,
    ShownLayer,
    ShownLayers,
    check_original,
    check_results,
    made_of,
    method_run,
    named_step,
    network_and_crops,
    one_layer,
    open_quantized,
    some_layers,
    write_results,
)
from srquant.cli.argument_order import check_order
from srquant.cli.bars import progress as output_progress
from srquant.cli.evaluate import Data, benchmark_sets
from srquant.cli.options import DEFAULT_PIXELS, Engine, Overwrite, Scale
from srquant.cli.page_file import labels_of, open_candidates
from srquant.cli.quantize import load_float
from srquant.models.packaged import find_model

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
    from srquant.insertion.policy import LayerBits

    check_results(output, NAMES, overwrite)
    bits = LayerBits(weight_bits, activation_bits)
    network, crops = network_and_crops(model, scale, calibration, count, patch, seed)
    with output_progress() as step:
        found = measure_sensitivities(network, crops, bits, step)
    write_results(sensitivity_files(found, bits), output)


def variance(
    model: FloatModel,
    calibration: Calibration,
    output: Folder,
    layer: ShownLayer = None,
    count: Count = 10,
    patch: Patch = 48,
    seed: Seed = 0,
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """Variance of activations per channel and per picture, as heat maps."""
    from srquant.analyse.variance import NAMES, measure_variances, most_varied, variance_files
    from srquant.insertion.plan import quantizable_layers

    check_results(output, NAMES, overwrite)
    network, crops = network_and_crops(model, scale, calibration, count, patch, seed)
    shown = None if layer is None else one_layer(layer, network)
    found = measure_variances(network, quantizable_layers(network), crops.batches(1))
    write_results(variance_files(found, shown or most_varied(found)), output)


def bits(files: QuantizedFiles, output: Folder, overwrite: Overwrite = False) -> None:
    """Bits of weights and activations layer by layer, as bars, for several quantized files."""
    from srquant.analyse.bits import NAMES, bit_files, bits_of

    check_results(output, NAMES, overwrite)
    opened = [(label, open_quantized(path)) for label, path in zip(labels_of(files), files, strict=True)]
    write_results(bit_files([named for label, model in opened for named in bits_of(label, model.network)]), output)


def picture_bits(
    file: QuantizedFile,
    pictures: Pictures,
    output: Folder,
    patch: Annotated[int, typer.Option(min=8, help="Side of the patches of the map in pixels.")] = 48,
    overwrite: Overwrite = False,
) -> None:
    """Bits that adabm, cadyq or cabm take for each picture, and for each patch as a map over the picture."""
    from srquant.analyse.picture_bits import NAMES, bits_by_picture, measure_picture_bits, picture_bit_files
    from srquant.data.images import image_size, read_rgb

    check_results(output, NAMES, overwrite)
    for path in pictures:
        image_size(path)
    of_picture = bits_by_picture(open_quantized(file).network)
    names, found = labels_of(pictures), []
    with output_progress() as step:
        for done, (name, path) in enumerate(zip(names, pictures, strict=True), 1):
            found.append(measure_picture_bits(of_picture, name, read_rgb(path), patch))
            step("pictures", done, len(pictures))
    write_results(picture_bit_files(found), output)


def distributions(
    model: FloatModel,
    files: FilesAfterModel,
    calibration: Calibration,
    output: Folder,
    layer: ShownLayers = None,
    count: Count = 8,
    patch: Patch = 48,
    seed: Seed = 0,
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """Distributions of weights and activations, with the bounds of quantized files and their percentiles."""
    from srquant.analyse.distributions import NAMES, distribution_files, measure_distributions
    from srquant.analyse.grid_bounds import activation_bounds, weight_bounds
    from srquant.insertion.plan import quantizable_layers

    check_results(output, NAMES, overwrite)
    network, crops = network_and_crops(model, scale, calibration, count, patch, seed)
    shown = some_layers(layer, network)
    models = [made_of(path, network, model) for path in files]
    bounds = tuple(map(weight_bounds, models)), tuple(map(activation_bounds, models))
    layers, pictures = quantizable_layers(network), list(crops.batches(1))
    found = measure_distributions(network, layers, shown, pictures, labels_of(files), bounds)
    write_results(distribution_files(found), output)


def clipping(
    model: FloatModel,
    picture: PictureAfterModel,
    output: Folder,
    share: Annotated[
        list[float] | None,
        typer.Option(
            show_default="0, 0.0001, 0.001, 0.01",
            help="Share of each activation that is clipped, 0 to below 1; repeatable.",
        ),
    ] = None,
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """What clipping the outermost share of all activations does to a picture of the float network."""
    from srquant.analyse.clipping import NAMES, SHARES, clipping_files, measure_clipping
    from srquant.data.images import read_rgb

    check_order(model, [str(picture)], "MODEL PICTURE")
    check_results(output, NAMES, overwrite)
    low = read_rgb(picture)
    network = load_float(find_model(model), scale)
    write_results(clipping_files(measure_clipping(network, low, share or SHARES)), output)


def crops(
    models: Models,
    output: Folder,
    picture: Annotated[Path, typer.Option(metavar="IMAGE", show_default=False, help="The picture to upscale.")],
    original: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE",
            show_default=False,
            help="The picture at full size, with which PSNR compares; default: what the first model makes.",
        ),
    ] = None,
    side: Annotated[int, typer.Option(min=8, help="Side of a crop in pixels of the result.")] = 48,
    count: Annotated[int, typer.Option(min=1, help="Number of crops.")] = 2,
    engine: Engine = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Crops of one picture by several models side by side, where they differ most."""
    from srquant.analyse.crops import NAMES, compared, crop_files
    from srquant.cli.engine_place import find_place
    from srquant.data.images import read_rgb
    from srquant.upscale.tiles.upscale_tiles import upscale_array

    check_results(output, NAMES, overwrite)
    place = find_place("cpu", engine, "auto", False, "f32")
    low, high = read_rgb(picture), None if original is None else read_rgb(original)
    candidates = open_candidates(models)
    scale = candidates[0].network.facts.scale
    if original is not None and high is not None:
        check_original(original, high, picture, low, scale)
    made = []
    with output_progress() as step:
        for done, candidate in enumerate(candidates, 1):
            made.append(upscale_array(place.open_engine(candidate.network, None), low))
            step("models", done, len(candidates))
    versions = compared([candidate.label for candidate in candidates], made, high, scale)
    write_results(crop_files(versions, side, count), output)


def progress(
    model: FloatModel,
    calibration: Calibration,
    data: Data,
    output: Folder,
    method: Annotated[
        list[str],
        typer.Option(
            metavar="NAME[:OPTION=VALUE...]",
            show_default=False,
            help="A method and options of it (srquant methods NAME), such as gba:rates=relative:epochs=4; repeatable.",
        ),
    ],
    weight_bits: WeightBits = 4,
    activation_bits: ActivationBits = 4,
    every: Annotated[int, typer.Option(min=1, help="Steps of learning between two measurements.")] = 50,
    count: Count = 100,
    patch: Patch = 48,
    seed: Seed = 0,
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """PSNR on benchmark sets while post-training methods finetune, all in one figure."""
    from functools import partial

    from srquant.analyse.progress import NAMES, progress_files, watch_method
    from srquant.insertion.policy import LayerBits
    from srquant.measure.quality.validation import mean_psnr

    check_results(output, NAMES, overwrite)
    bits = LayerBits(weight_bits, activation_bits)
    network, crops = network_and_crops(model, scale, calibration, count, patch, seed)
    runs = [method_run(text, bits, network) for text in dict.fromkeys(method)]
    measure = partial(mean_psnr, sets=benchmark_sets(data, network.facts.scale, DEFAULT_PIXELS))
    curves = []
    with output_progress() as step:
        for run in runs:
            note = partial(named_step, step, run.label)
            curves.append(watch_method(network, crops, run, measure, every, note))
    write_results(progress_files(curves, measure(network.eval())), output)


def features(
    models: Models,
    output: Folder,
    picture: Annotated[Path, typer.Option(metavar="IMAGE", show_default=False, help="The picture that they upscale.")],
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="The layer or block whose output is shown; default: the layer behind the residual blocks.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Maps of a layer's output in several models of one architecture beside each other."""
    from srquant.analyse.features import NAMES, feature_files, last_features, measure_features
    from srquant.data.images import read_rgb

    check_results(output, NAMES, overwrite)
    low = read_rgb(picture)
    candidates = open_candidates(models)
    networks = [candidate.network for candidate in candidates]
    shown = layer or last_features(networks[0])
    found = measure_features([candidate.label for candidate in candidates], networks, shown, low)
    write_results(feature_files(found, shown), output)


def steps(run: RunFolderArgument, output: Folder, overwrite: Overwrite = False) -> None:
    """Box plots of QuantSR's learned steps and shifts over a training run, and its other statistics."""
    from srquant.analyse.quantsr.steps import NAMES, read_log, step_files

    check_results(output, NAMES, overwrite)
    write_results(step_files(read_log(run / "metrics.csv")), output)


def gradients(
    run: RunFolderArgument,
    output: Folder,
    init: Annotated[
        str, typer.Option(metavar="CKPT", show_default=False, help="The float checkpoint from which the run started.")
    ],
    hr: Annotated[
        Path, typer.Option("--hr", metavar="DIR", show_default=False, help="The pictures that the run learns from.")
    ],
    crops: Annotated[int, typer.Option(min=1, help="Number of crops of the backward pass.")] = 4,
    scale: Scale = None,
    overwrite: Overwrite = False,
) -> None:
    """How QuantSR's phi changes the gradients of the weights, at the last checkpoint of a training run."""
    from srquant.analyse.quantsr.gradients import NAMES, gradient_files, measure_gradients
    from srquant.cli.analyse_run import crops_of, open_run
    from srquant.training.run_folder import RunFolder

    check_results(output, NAMES, overwrite)
    student, pairs, done = open_run(RunFolder(run), init, hr, scale)
    write_results(gradient_files(measure_gradients(student, *crops_of(pairs, crops), step=max(done - 1, 0))), output)


app = typer.Typer(no_args_is_help=True, help="Numbers and figures as papers print them, one file of each per analysis.")

ANALYSES: dict[Callable[..., None], str] = {
    variance: "variance edsr.pt --calibration DIR -o DIR",
    sensitivity: "sensitivity edsr.pt --calibration DIR -w 4 -a 4 -o DIR",
    bits: "bits gba.safetensors adabm.safetensors -o DIR",
    picture_bits: "picture-bits adabm.safetensors in.png -o DIR",
    distributions: "distributions edsr.pt mse.safetensors distill.safetensors --calibration DIR -o DIR",
    clipping: "clipping edsr.pt in.png -o DIR",
    progress: "progress edsr.pt --calibration DIR --data Set5 --method gba --method adabm -o DIR",
    steps: "steps RUN_DIR -o DIR",
    gradients: "gradients RUN_DIR --init edsr.pt --hr DIV2K -o DIR",
    features: "features edsr.pt dorefa.safetensors quantsr.safetensors --picture in.png -o DIR",
    crops: "crops edsr.pt mse.safetensors distill.safetensors --picture in.png -o DIR",
}

for analysis, example in ANALYSES.items():
    app.command(
        analysis.__name__.replace("_", "-"),
        epilog=f"Example: [bold]srquant analyse {example}[/bold]",
        context_settings={"help_option_names": ["-h", "--help"]},
    )(analysis)
