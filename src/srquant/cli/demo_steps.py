"""The steps of the demo."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srquant.cli.demo_pictures import write_png
from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.data.images import read_rgb
from srquant.data.resize import upscale
from srquant.deploy.file.save_load import save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.insertion.policy import Granularity, LayerBits, Policy
from srquant.measure.quality.scores import Report, evaluate
from srquant.measure.speed.exported_models import export_float, export_integer
from srquant.measure.speed.time_models import time_models
from srquant.methods.registry import METHODS
from srquant.models.network import Network
from srquant.models.packaged import DEFAULT, packaged_models
from srquant.report.build import Work, page_of_sets
from srquant.report.collect import Step
from srquant.report.crops import Box, Column, side_by_side
from srquant.report.measured_model import Candidate
from srquant.report.page import Page
from srquant.report.speed import Setting
from srquant.temporary_folders import temporary_folder
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.jobs.folder import upscale_folder

Milliseconds = tuple[float | None, float | None, float | None]
"""PyTorch float32, OpenVINO float32, OpenVINO integer."""

NOT_TIMED: Milliseconds = (None, None, None)
HEIGHT, WIDTH, ROUNDS = 180, 320, 9
"""Size in pixels of the picture that is timed, and number of timed runs."""

BOXES = {"astronaut": Box(350, 136, 64), "chelsea": Box(84, 140, 64), "rocket": Box(200, 10, 64)}
"""The crop of each picture that the comparison shows."""

ZOOM = 3


@dataclass(frozen=True)
class Recipe:
    """One way to quantize the network: body at ``bits``, head and tail at 8; ``grids``: granularity of activations."""

    label: str
    name: str
    bits: int
    method: str
    grids: Granularity
    finetune: str


RECIPES = (
    Recipe("8-bit", "w8a8", 8, "tails", "channel", finetune="none"),
    Recipe("4-bit min-max", "w4a4_minmax", 4, "minmax", "tensor", finetune="none"),
    Recipe("4-bit finetuned", "w4a4_finetuned", 4, "minmax", "tensor", finetune="together"),
)


@dataclass(frozen=True)
class Made:
    """A network that is measured, and the name of its folder of pictures."""

    name: str
    candidate: Candidate


@dataclass(frozen=True)
class Row:
    """One row of the result: quality, size and speed."""

    label: str
    report: Report
    size_bytes: int | None
    milliseconds: Milliseconds


def candidates(network: Network, calibration: CalibrationSet, folder: Path, step: Step) -> list[Made]:
    """The float network, and the quantized network of each recipe, which is saved to a file."""
    made = [Made("float", Candidate("float", packaged_models()[DEFAULT], network))]
    for recipe in RECIPES:
        frozen = quantize(recipe, network, calibration, step)
        path = folder / f"{DEFAULT}_{recipe.name}.safetensors"
        save(frozen, path, overwrite=True)
        made.append(Made(recipe.name, Candidate(recipe.label, path, frozen)))
    return made


def quantize(recipe: Recipe, network: Network, calibration: CalibrationSet, step: Step) -> FrozenModel:
    """Quantize a network by a recipe."""

    def labelled(stage: str, done: int, total: int) -> None:
        step(f"{recipe.label}: {stage}", done, total)

    policy = Policy(LayerBits(recipe.bits, recipe.bits), activation_granularity=recipe.grids)
    method = METHODS[recipe.method]
    return freeze(method.quantize(network, calibration, policy, method.config(finetune=recipe.finetune), labelled))


def time_engines(network: Network, models: list[Made], threads: int, step: Step) -> dict[str, Milliseconds]:
    """Median times by label; all engines are timed in turns."""
    with temporary_folder() as folder:
        exported = export_float(network, folder)[:2]
        exported += [export_integer(model.name, model.candidate.network, folder) for model in models[1:]]
        measured = time_models(exported, HEIGHT, WIDTH, threads, ROUNDS, partial(step, "timing"))
    torch, openvino, *integer = [m.timing.median_ms for m in measured]
    quantized = {model.candidate.label: (None, None, ms) for model, ms in zip(models[1:], integer, strict=True)}
    return {models[0].candidate.label: (torch, openvino, None), **quantized}


def rows(
    models: list[Made],
    benchmark: BenchmarkSet,
    times: dict[str, Milliseconds],
    threads: int,
    folder: Path,
    step: Step,
) -> list[Row]:
    """Measure every network, write a page about them, and the pictures that they upscale."""
    measured, low = [], write_low(benchmark, folder / "low")
    page = write_page(models, benchmark, threads, folder / "report.html", step)
    for number, (model, found) in enumerate(zip(models, page.models, strict=True)):
        upscale_folder(OpenVINOEngine(model.candidate.network), low, folder / model.name, overwrite=True)
        step("pictures", number + 1, len(models))
        measured.append(Row(found.label, found.scores[0], found.size_bytes, times[found.label]))
    return measured


def bicubic_row(benchmark: BenchmarkSet) -> Row:
    """The row of bicubic interpolation."""
    return Row("bicubic", evaluate(partial(upscale, scale=benchmark.scale), benchmark, "bicubic"), None, NOT_TIMED)


def write_low(benchmark: BenchmarkSet, folder: Path) -> Path:
    """Write the set's low-resolution pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in benchmark:
        write_png(sample.low, folder / f"{sample.name}x{benchmark.scale}.png")
    return folder


def compare(benchmark: BenchmarkSet, models: list[Made], measured: list[Row], path: Path) -> None:
    """Write crops of every picture, upscaled by every network, side by side."""
    folder, scale = path.parent, benchmark.scale
    shown = [sample for sample in benchmark if sample.name in BOXES]
    forms = [[upscale(sample.low, scale) for sample in shown]]
    forms += [[read_rgb(folder / model.name / f"{sample.name}x{scale}.png") for sample in shown] for model in models]
    columns = [
        Column(f"{row.label}\n{row.report.psnr_y:.2f} dB", pictures)
        for row, pictures in zip(measured, forms, strict=True)
    ]
    columns.append(Column("original", [sample.high for sample in shown]))
    write_png(side_by_side(columns, [BOXES[sample.name] for sample in shown], ZOOM), path)


def write_page(models: list[Made], benchmark: BenchmarkSet, threads: int, path: Path, step: Step) -> Page:
    """Measure all networks, and write a page that compares them."""
    candidates = [model.candidate for model in models]
    setting = Setting(HEIGHT, WIDTH, threads, ROUNDS)
    work = Work("srquant demo", candidates, candidates[0], open_engine, setting, "srquant demo")
    page = page_of_sets(work, [benchmark], step)
    page.write(path)
    return page


def open_engine(candidate: Candidate) -> OpenVINOEngine:
    """The engine that upscales by a model of the page."""
    return OpenVINOEngine(candidate.network)
