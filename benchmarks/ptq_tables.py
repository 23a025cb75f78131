"""``ptq.json``, ``ptq.md``, the table of bars and the plots, from finished runs."""

import datetime
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ptq_bars import write_bars
from ptq_networks import NETWORKS, Net
from ptq_papers import drops
from ptq_plot import plot
from ptq_results import Entry, Score, entries
from ptq_run import Run, shared
from ptq_runs import UNKNOWN, collect
from ptq_store import Store
from report import machine

from srquant.errors import InputError

ABOUT = """\
Head and tail 8 bit, residual adds in float, final iterate. Calibration: one crop of 48x48 from each of the 100 pictures
in `DIV2K_test_LR/LR_bicubic/X4`; that folder has no more, so seeds differ in crops and order, not in pictures. The
papers crop 96x96 (2DQuant: 64x64) from the 800 training pictures. Scores are means over the calibration seeds, ± is the
standard deviation of the PSNR over them; whole pictures are upscaled. The frozen network that the file holds ran in
the engine named below; PyTorch gave the same Y-PSNR on Set5 to 0.01 dB, except where the engine is marked with `!`.

- PSNR-Y in dB / SSIM-A / SSIM-B: the flavours of `srquant.measure.quality.metrics`.
- *FAB*: mean activation bits of the layers between head and tail, as the pictures took them. *Effective*: mean log2 of
  the activation and of the weight codes that occur there, in the middle 128x128 of the first five pictures of Set5; `†`
  marks rows that spend more codes than their bits have: compare these by effective bits.
- *Weighted*: activation bits by multiply-accumulates, weight bits by number of weights, all layers.
- *BitOPs* for a picture of 180x320, products of two activations included. *Seconds*: of one thread, for calibration
  and learning, reading pictures included, without loading and evaluating the network. *MB*: peak memory of the process.
- *Ranges*: `dynamic` ones are taken from the picture itself, which a single integer convolution per layer can't do.
- *Float layers*: quantized layers that the engine computes in float.
"""

LOST = f"""
  The files of runs with the version `{UNKNOWN}` were lost. They were restored from an earlier edition of this table:
  SSIM and costs of each of their seeds are means over the seeds."""
"""A remark for tables with restored runs."""

COSTS: tuple[tuple[str, Callable[[Entry], str]], ...] = (
    ("FAB on Set5", lambda e: _number(e.scores[0].fab)),
    ("effective a / w", lambda e: _pair(e.effective_activation_bits, e.effective_weight_bits)),
    ("weighted a / w", lambda e: _pair(e.activation_bits, e.weight_bits)),
    ("TBitOPs", lambda e: _number(e.bit_ops, 1e12)),
    ("KB", lambda e: _number(e.size_bytes, 1e3, 0)),
    ("s", lambda e: _number(e.seconds, 1, 0)),
    ("MB", lambda e: _number(e.peak_bytes, 1e6, 0)),
    ("ranges", lambda e: e.ranges),
    ("engine", lambda e: e.engine + ("!" if e.engines_agree is False else "")),
    ("float layers", lambda e: str(e.float_layers)),
    ("seeds", lambda e: str(e.seeds)),
)


def assemble(runs: list[Run], store: Store, folder: Path) -> None:
    """Write the tables and plots of all finished runs, and the runs themselves in one file.

    Raises:
        InputError: no run is finished.
    """
    found = entries(runs, store, drops(shared() / "methods" / "paper_numbers.csv"))
    if not found:
        raise InputError(f"no run is finished in {store.folder}: start them without --assemble")
    folder.mkdir(parents=True, exist_ok=True)
    made = {"machine": machine(), "date": datetime.date.today().isoformat()}
    values = {**made, "entries": [asdict(entry) for entry in found]}
    collect(runs, store, folder)
    (folder / "ptq.json").write_text(json.dumps(values, indent=1) + "\n")
    networks = [network for network in NETWORKS if any(entry.network == network.name for entry in found)]
    parts = [f"# Post-training quantization\n\n{made['machine']}, {made['date']}\n\n{ABOUT}{versions(runs, store)}"]
    for network in networks:
        own = [entry for entry in found if entry.network == network.name]
        pictures = plot(own, folder / f"ptq_{network.name}.png")
        parts.append(section(network, own, pictures))
    (folder / "ptq.md").write_text("\n".join(parts))
    write_bars(found, folder / "ptq_bars.md")


def versions(runs: list[Run], store: Store) -> str:
    """A line on how many runs each version of the code made."""
    counts = Counter(code for code in map(store.code, runs) if code is not None)
    made = ", ".join(f"{version} ({count})" for version, count in counts.most_common())
    lost = LOST if UNKNOWN in counts else ""
    left = len(runs) - counts.total()
    return f"- Runs by version of the code (`ptq_origin.py`): {made}; {left} aren't finished.{lost}\n"


def section(network: Net, found: list[Entry], picture: Path | None) -> str:
    """One network: a table per number of bits, and one that compares with the papers."""
    lines = [f"## {network.name}\n"]
    lines += [f"{network.note}.\n"] if network.note else []
    lines += [f"![PSNR against bits]({picture.name})\n"] if picture else []
    for bits in sorted({entry.bits for entry in found}, reverse=True):
        own = [entry for entry in found if entry.bits == bits]
        lines += [f"### {'Float' if bits == 32 else f'{bits} bits'}\n", *scores_table(own), ""]
        if bits != 32:
            lines += [*costs_table(own), "", *papers_table(network, own)]
    return "\n".join([*lines, "Options beside the defaults:\n", *options_of(found), ""])


def options_of(found: list[Entry]) -> list[str]:
    """A line for each row; several lines if its options differ between numbers of bits."""
    bits: dict[tuple[str, str], list[int]] = {}
    for entry in found:
        if entry.options:
            bits.setdefault((entry.label, entry.options), []).append(entry.bits)
    labels = Counter(label for label, _ in bits)
    return [
        f"- {label}{f' at {_listed(some)} bits' if labels[label] > 1 else ''}: `{options}`"
        for (label, options), some in bits.items()
    ]


def _listed(bits: list[int]) -> str:
    return ", ".join(map(str, sorted(bits)))


def scores_table(found: list[Entry]) -> list[str]:
    """PSNR and SSIM by set."""
    sets = list(dict.fromkeys(score.set for entry in found for score in entry.scores))
    lines = ["| | " + " | ".join(sets) + " |", "| --- |" + " --- |" * len(sets)]
    for entry in found:
        cells = {score.set: _score(score) for score in entry.scores}
        lines.append(f"| {_label(entry)} | " + " | ".join(cells.get(name, "") for name in sets) + " |")
    return lines


def costs_table(found: list[Entry]) -> list[str]:
    """Bits, size, time."""
    lines = ["| | " + " | ".join(name for name, _ in COSTS) + " |", "| --- |" + " --: |" * len(COSTS)]
    return lines + [f"| {_label(e)} | " + " | ".join(cell(e) for _, cell in COSTS) + " |" for e in found]


def papers_table(network: Net, found: list[Entry]) -> list[str]:
    """Losses against the float network, ours / the paper's; empty if no paper has one of the rows."""
    compared = [entry for entry in found if any(score.paper for score in entry.scores)]
    if not compared or network.paper is None:
        return []
    sets = list(dict.fromkeys(score.set for entry in compared for score in entry.scores if score.paper))
    family, scale = network.paper
    lines = [f"Loss against the own float network in dB, ours / the paper's ({family} x{scale}):\n"]
    lines += ["| | paper | " + " | ".join(sets) + " |", "| --- | --- |" + " --: |" * len(sets)]
    for entry in compared:
        cells = {s.set: f"{s.drop:.2f} / {s.paper.db:.2f}" for s in entry.scores if s.paper and s.drop is not None}
        source = next(score.paper.paper for score in entry.scores if score.paper)
        lines.append(f"| {entry.label} | {source} | " + " | ".join(cells.get(name, "") for name in sets) + " |")
    return [*lines, ""]


def _label(entry: Entry) -> str:
    return entry.label + (" †" if entry.overspends else "")


def _score(score: Score) -> str:
    deviation = "" if score.std is None else f" ± {score.std:.2f}"
    return f"{score.psnr_y:.2f}{deviation} / {score.ssim_a:.4f} / {score.ssim_b:.4f}"


def _number(value: float | None, unit: float = 1, digits: int = 2) -> str:
    return "" if value is None else f"{value / unit:.{digits}f}"


def _pair(a: float | None, b: float | None) -> str:
    return "" if a is None or b is None else f"{a:.2f} / {b:.2f}"
