"""The page of ``analyses.py``: each analysis with its command, what it shows, its small tables and its figures."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LARGEST = 110_000
"""Bytes of a file that is copied; larger tables stay with the run."""

MOST_ROWS = 8
"""Of a table that the page itself shows; of larger ones it has a link."""


@dataclass(frozen=True)
class Made:
    """How an analysis was made."""

    command: str
    machine: str
    date: str
    seconds: float


@dataclass(frozen=True)
class Section:
    """What the page says of an analysis: its heading, which figures of papers it is like, and how it is to be read."""

    heading: str
    papers: str
    text: str


SECTIONS = {
    "variance": Section(
        "Variance of activations",
        "GBA Fig. 1",
        "Left: each layer's channels, mean over 10 crops, over the layer's median channel. Right: the layer that "
        "varies most from crop to crop; white: no variance, as all its values are zero after a ReLU. One range for "
        "a whole layer has to fit all of that.",
    ),
    "sensitivity": Section(
        "Sensitivity of layers",
        "GBA Fig. 2, outlier-aware Fig. 4, AdaBM Fig. 2",
        "Blue: the error of the picture when one layer alone has 4-bit activations (left) or weights (right). "
        "Orange: what the papers estimate instead. Spearman's rank correlation of both says how well an estimate "
        "orders the layers; 'body' leaves out head and tail, whose bits the papers don't choose.",
    ),
    "bits": Section(
        "Bits of layers",
        "GBA Fig. 5, AdaBM Fig. 4",
        "Bits that GBA gives to weights and activations, with candidate sets of -1..1 and of -2..2 around 4 bits, "
        "and those of AdaBM's branches for pictures of low, middle and high gradient density.",
    ),
    "picture_bits_adabm": Section(
        "Bits of pictures and patches: AdaBM",
        "AdaBM Fig. 4",
        "Mean activation bits between head and tail for the whole picture, and for patches of 36 x 36 pixels.",
    ),
    "picture_bits_cadyq": Section(
        "Bits of pictures and patches: CADyQ",
        "CADyQ",
        "The same of a network in which each layer chooses its bits; trained for 240 steps.",
    ),
    "progress": Section(
        "PSNR while methods finetune",
        "GBA Fig. 6",
        "PSNR of the network that learns, 4-bit weights and activations, 24 crops of 32 x 32 pixels; measured after "
        "each pass (12 steps) on the middle parts of the three pictures above. The cross is the settled result, "
        "which is what gets exported. Methods learn for different numbers of steps; where the label doesn't have "
        "`rates=relative` the rates are the published ones, which are meant for larger values than this network has.",
    ),
    "distributions": Section(
        "Distributions and bounds",
        "2DQuant Figs. 4, 5, 7 to 11, outlier-aware Fig. 3",
        "Values of three layers (logarithmic counts) with the bounds of four quantized files, and the percentiles "
        "at which these bounds lie in all layers. Where grids are per channel the outermost bound is drawn, and "
        "percentiles are means over channels. The last figure has the inputs of these layers in three crops.",
    ),
    "clipping": Section(
        "Clipping activations",
        "outlier-aware Fig. 2",
        "The float network's picture when the outermost share of every layer's input is clipped, half of it on each"
        " side; PSNR is against the float network's own picture.",
    ),
    "steps": Section(
        "QuantSR: steps and shifts over training",
        "QuantSR Figs. 1, 2",
        "A run of 200 steps at 2 bits. Boxes: mean and deviation over layers (steps) or channels (shifts), "
        "whiskers: the smallest and the largest.",
    ),
    "gradients": Section(
        "QuantSR: effect of phi on gradients",
        "QuantSR Fig. 3",
        "One backward pass at the end of that run: gradients `g` of all weights with phi, `g'` without.",
    ),
    "features": Section(
        "QuantSR: features beside DoReFa's",
        "QuantSR Fig. 4",
        "Output of the layer behind the residual blocks: float, DoReFa's at 2 and 4 bits and QuantSR's at 2 bits, "
        "after 100 to 200 steps of training. DoReFa fails on this network at 2 bits, as in [qat](qat.md).",
    ),
    "crops": Section(
        "Crops",
        "all papers",
        "Where the models differ most, and luminance PSNR of the whole picture.",
    ),
}


def page(made: Mapping[str, Made], networks: Sequence[str], folder: Path) -> str:
    """The page as Markdown.

    Args:
        made: how each analysis that it shows was made.
        networks: commands that made what the analyses look at.
        folder: of the copied files, one folder in it per analysis.
    """
    machines = sorted({f"{one.machine}, {one.date}" for one in made.values()})
    head = [
        "# Analyses",
        "",
        "The analyses that papers print, for EDSR with 8 blocks, x2: what `srquant analyse` writes.",
        "[Analyses](../analyse.md) says what each is for. Methods learn from few crops or for few steps here:",
        "figures show what an analysis shows, not how good a method can be; for that see [ptq](ptq.md) and",
        "[qat](qat.md). Pictures that are shown are from gb82, in the public domain (CC0).",
        "",
        "`python benchmarks/analyses.py -o RUNS`, then `python benchmarks/analyses.py -o RUNS --assemble docs/results`",
        "",
        *machines,
        "",
        "Commands run in the folder RUNS; these made the networks:",
        "",
        "```",
        *networks,
        "```",
    ]
    return (
        "\n".join([*head, *(line for name, one in made.items() for line in _section(name, one, folder / name))]) + "\n"
    )


def _section(name: str, made: Made, folder: Path) -> list[str]:
    section, files = SECTIONS[name], sorted(folder.iterdir())
    figures = [path for path in files if path.suffix == ".png"]
    tables = [path for path in files if path.suffix != ".png"]
    lines = ["", f"## {section.heading}", "", f"As in {section.papers}. {section.text}", ""]
    lines += ["```", made.command, "```", ""]
    for path in figures:
        lines += [f"![{section.heading}: {path.stem}]({_link(path)})", ""]
    shown = [line for path in tables for line in _table(path)]
    lines += [*shown, ""] if shown else []
    links = ", ".join(f"[{path.name}]({_link(path)})" for path in tables)
    return [*lines, f"Numbers: {links}. {made.seconds:.0f} seconds."]


def _link(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.parent.name}/{path.name}"


def _table(path: Path) -> list[str]:
    """A small table, or rank correlations, as Markdown; nothing of others."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        return _markdown(rows) if len(rows) - 1 <= MOST_ROWS else []
    found = json.loads(path.read_text(encoding="utf-8"))
    if "rank_correlation" in found:
        return _markdown(_correlations(found))
    return _markdown([["method", "result"], *_results(found)]) if "results" in found else []


def _correlations(found: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> list[list[str]]:
    body = found["rank_correlation_between_head_and_tail"]
    rows = [["measured error", "estimate", "rank correlation", "between head and tail"]]
    for error, of in found["rank_correlation"].items():
        rows += [[error, name, _number(value), _number(body[error][name])] for name, value in of.items()]
    return rows


def _results(found: Mapping[str, object]) -> list[list[str]]:
    """PSNR of each method's result, the float network first."""
    results = found["results"]
    assert isinstance(results, dict)
    return [[name, _number(value)] for name, value in {"float": found["float"], **results}.items()]


def _number(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "-"


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return [head, "|" + " --- |" * len(rows[0]), *body]
