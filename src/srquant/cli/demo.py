"""``srquant demo``: quantize the packaged network, measure and upscale, with pictures of the scikit-image package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.options import Overwrite, Threads, usable_cores
from srquant.cli.output import check_folder, note, progress, show, table
from srquant.errors import OutputError

if TYPE_CHECKING:
    from rich.table import Table

    from srquant.cli.demo_steps import Row

Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for quantized files and pictures.")]


def demo(output: Output = Path("demo"), threads: Threads = None, overwrite: Overwrite = False) -> None:
    """Quantize the packaged network on pictures of scikit-image; show quality, size and speed."""
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists: use --overwrite to write into it, or choose another folder")
    check_folder(output)

    from srquant.cli.demo_pictures import CALIBRATION_PICTURES, TEST_PICTURES, write_pictures
    from srquant.cli.demo_steps import bicubic_row, candidates, compare, rows, time_engines
    from srquant.models.load import load_model
    from srquant.models.packaged import DEFAULT, packaged_models

    network = load_model(packaged_models()[DEFAULT])
    pictures = write_pictures(output, network.facts.scale)
    note(f"calibration pictures: {', '.join(CALIBRATION_PICTURES)}\ntest pictures: {', '.join(TEST_PICTURES)}")
    with progress() as step:
        models = candidates(network, pictures.calibration, output, step)
        cores = threads or usable_cores()
        times = time_engines(network, models, cores, step)
        measured = [bicubic_row(pictures.benchmark), *rows(models, pictures.benchmark, times, cores, output, step)]
    compare(pictures.benchmark, models, measured, output / "comparison.png")
    show(
        result_table(measured),
        f"files and pictures: {output}, comparison: {output / 'comparison.png'}, page: {output / 'report.html'}",
    )


def result_table(rows: "list[Row]") -> "Table":
    """One row per network, and one for bicubic interpolation."""
    shown = table(
        "", "PSNR-Y", "SSIM", "file KB", "PyTorch\nfloat32 ms", "OpenVINO\nfloat32 ms", "OpenVINO\ninteger ms"
    )
    for row in rows:
        size = "-" if row.size_bytes is None else f"{row.size_bytes / 1000:.0f}"
        times = ["-" if ms is None else f"{ms:.1f}" for ms in row.milliseconds]
        shown.add_row(row.label, f"{row.report.psnr_y:.2f}", f"{row.report.ssim_a:.4f}", size, *times)
    return shown
