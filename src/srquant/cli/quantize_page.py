"""``srquant quantize --report``: the quantized network beside the float one, on calibration pictures."""

from pathlib import Path

from srquant.cli.bars import progress
from srquant.cli.options import usable_cores
from srquant.cli.output import make_folder
from srquant.cli.page_file import command_line
from srquant.data.calibration import CalibrationSet
from srquant.measure.speed.gain import side_for
from srquant.report.build import Work, page_of_pictures
from srquant.report.measured_model import Candidate
from srquant.report.speed import Setting
from srquant.upscale.engines.open_engine import open_engine

PICTURES, ROUNDS = 3, 5


def write_page(start: Candidate, quantized: Candidate, pictures: CalibrationSet, path: Path) -> None:
    """Write the page.

    Args:
        start: the float network, on the CPU.
        quantized: made of it.
        pictures: of the calibration; the first ones are shown.
        path: of the page.

    Raises:
        OutputError: the page can't be written.
        EngineError: no engine can run one of the networks.
    """
    side = side_for(start.network.facts)
    work = Work(
        f"{start.label} and {quantized.label}",
        [start, quantized],
        start,
        lambda candidate: open_engine("auto", candidate.network, None),
        Setting(side, side, usable_cores(), ROUNDS),
        command_line(),
    )
    make_folder(path)
    with progress() as step:
        page_of_pictures(work, pictures.files[:PICTURES], step).write(path)
