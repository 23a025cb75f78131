"""The page "claimed, counted, run": bits that published systems claim, codes they spend, ranges they need, PSNR here.

    python benchmarks/claims.py -o docs/results/claimed_counted_run.md

The numbers come from ``claimed_counted_run.json`` (``claims_count.py``), ``ptq.json``, ``qat.json`` and
``qat_patches.json`` in the same folder, and from the papers' tables in ``$SRQUANT_SHARED/methods``. Run it again when
one of them has changed. ``claims_systems.py`` has the systems.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claims_systems import RIVALS, SYSTEMS, Rival, System
from ptq_papers import Drop, Key, drops
from ptq_run import shared

from srquant.errors import InputError

NETWORK = "edsr_r8f64_x2"
BITS = (4, 3, 2)
MIXED = {"none": ("", ""), "a": ("", "MP"), "wa": ("MP", "MP")}
"""Behind the bits of weights and of activations, by the column ``mixed`` of the papers' tables: MP for mixed bits."""

PLACES = (("EDSR", 2), ("EDSR", 4), ("SRResNet", 2), ("SwinIR-light", 2))
"""Networks and scales of the papers whose loss is shown; the first one that has a row."""

ABOUT = """\
# Claimed, counted, run

`python benchmarks/claims.py -o docs/results/claimed_counted_run.md`

A claim of 4 bits means 16 codes. This page has, for every published system of which we know numbers, the bits that its
paper claims, the codes that its grids spend, the ranges that it needs, and the PSNR of the quantized network that this
project runs.

- *Claimed*: bits of weights / activations in the paper's tables; MP: mixed bits, of which this is the mean.
- *Codes*: the most that one layer between head and tail spends, of its weight / of its input. The cost report counted
  them on the packaged network ([claims_count.py](../../benchmarks/claims_count.py)). More than `2^bits` come from mixed
  bits, or from grids with more points than their bits have: `†` marks systems in which a layer spends more than the
  bits of this layer.
- *Effective*: mean over layers of log2 of the codes that occur in the measured network, weights / activations.
- *Ranges*: `dynamic` ones are taken from the picture itself. A single integer convolution can't do that, so such layers
  compute in float on integer weights.
- *Arithmetic*: `integer` where every quantized layer ran with integer arithmetic in OpenVINO.
- *Set5*, *Set14*: PSNR-Y in dB of the frozen network, EDSR r8f64 x2, from [ptq.md](ptq.md) and [qat.md](qat.md).
  Head and tail have 8 bits; in rows with training steps they are float. *Loss*: against the float network on Set5.
- *Published loss*: the same in the paper's own table, whose networks are larger.
"""

HEAD = (
    "",
    "row here",
    "claimed",
    "codes",
    "effective",
    "ranges",
    "arithmetic",
    "Set5",
    "Set14",
    "loss",
    "published loss",
)


@dataclass(frozen=True)
class Sources:
    """What the page is made of: the JSON files, and the papers' tables as rows."""

    counted: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    trained: list[dict[str, Any]]
    patches: list[dict[str, Any]]
    papers: list[dict[str, str]]
    rivals: list[dict[str, str]]
    losses: dict[Key, Drop]


def read(folder: Path, tables: Path) -> Sources:
    """Read the JSON files of a folder, and the papers' tables.

    Raises:
        InputError: the papers' tables are missing.
    """
    numbers, rivals = tables / "paper_numbers.csv", tables / "rival_numbers.csv"
    for path in (numbers, rivals):
        if not path.exists():
            raise InputError(f"{path} is missing: set SRQUANT_SHARED to the folder that has methods/{path.name}")
    files = (("claimed_counted_run", "rows"), ("ptq", "entries"), ("qat", "runs"), ("qat_patches", "rows"))
    found = [json.loads((folder / f"{name}.json").read_text())[part] for name, part in files]
    return Sources(*found, _rows(numbers), _rows(rivals), drops(numbers))


def page(sources: Sources) -> str:
    """The page as Markdown."""
    parts = [ABOUT, "\n".join(["## In short\n", *short(sources), ""])]
    for bits in BITS:
        lines = list(lines_of_bits(sources, bits))
        parts.append("\n".join([f"## {bits} bits\n", *_table(HEAD), *lines, ""]))
    parts.append("\n".join(["## Bits chosen by patch\n", BY_PATCH, *patch_table(sources), ""]))
    parts.append("\n".join(["## What is known of these systems\n", *evidence(SYSTEMS), ""]))
    parts.append(
        "\n".join(["## Systems that don't run here\n", NOT_HERE, *rival_table(sources), "", *evidence(RIVALS)])
    )
    return "\n".join(parts) + "\n"


def short(sources: Sources) -> Iterator[str]:
    """Systems by the codes and ranges that their 4-bit grids were counted to have, and the best rows."""
    kinds: dict[str, list[str]] = {}
    for system in SYSTEMS:
        for row in sources.counted:
            if (row["label"], row["bits"]) == (system.counted, 4):
                name = f"{kind(row)}, {' or '.join(measured_ranges(sources, system))} ranges"
                kinds.setdefault(name, []).append(system.name)
    yield from (f"- **{name}**: {', '.join(systems)}." for name, systems in sorted(kinds.items()))
    for bits in BITS:
        own = [e for e in sources.entries if (e["network"], e["bits"]) == (NETWORK, bits) and not e["overspends"]]
        for ranges in ("static", "dynamic"):
            rows = [e for e in own if e["ranges"] == ranges]
            if rows:
                db, label = max((_psnr(entry, "Set5"), entry["label"]) for entry in rows)
                yield f"- Best post-training row of Set5, {bits} bits, {ranges} ranges: `{label}`, {db:.2f} dB."


def kind(row: dict[str, Any]) -> str:
    """How many codes the counted grids have, in words."""
    most, all_codes = max(row["weight_codes"], row["activation_codes"]), 2 ** row["bits"]
    if row["over"]:
        return f"More than {all_codes} codes at {row['bits']} bits"
    if most > all_codes:
        return f"{all_codes} codes only as a mean at {row['bits']} bits, more in single layers"
    return f"At most {all_codes} codes in every layer at {row['bits']} bits"


def measured_ranges(sources: Sources, system: System) -> list[str]:
    """``static`` or ``dynamic``, as the measured networks of a system have them."""
    entries = [entry["ranges"] for entry in sources.entries if entry["label"] in system.rows]
    runs = [run["after"][0]["bits"]["ranges"] for run in sources.trained if run["label"] in system.trained]
    return sorted({*entries, *runs})


def lines_of_bits(sources: Sources, bits: int) -> Iterator[str]:
    """A line for each measured row of a number of bits, and for systems that claim it without a row here."""
    for system in SYSTEMS:
        claimed, published = claim(sources, system, bits), loss(sources, system, bits)
        lines = list(_post_training(sources, system, bits)) + list(_trained(sources, system, bits))
        for cells in lines:
            yield _line(system.name, cells[0], claimed, codes(sources, system, bits), *cells[1:], published)
        if not lines and claimed:
            yield _line(system.name, "", claimed, codes(sources, system, bits), *[""] * 6, published)


def claim(sources: Sources, system: System, bits: int) -> str:
    """The bits of the papers' tables: weights / activations; empty where no table has them."""
    own = (row for row in sources.papers if row["method"] in system.published)
    marks = [MIXED.get(row["mixed"], ("", "")) for row in own if row["w_bits"] == row["a_bits"] == str(bits)]
    return f"{bits}{marks[0][0]} / {bits}{marks[0][1]}" if marks else ""


def loss(sources: Sources, system: System, bits: int) -> str:
    """The loss on Set5 in a paper's table, with its network; empty where none has it."""
    keys = ((*place, method, bits, "Set5") for method in system.published for place in PLACES)
    found = next((key for key in keys if key in sources.losses), None)
    return "" if found is None else f"{sources.losses[found].db:.2f} ({found[0]} x{found[1]})"


def codes(sources: Sources, system: System, bits: int) -> str:
    """Most codes of a layer: weights / activations; empty where they weren't counted."""
    rows = sources.counted
    row = next((row for row in rows if (row["label"], row["bits"]) == (system.counted, bits)), None)
    return "" if row is None else f"{row['weight_codes']} / {row['activation_codes']}{' †' if row['over'] else ''}"


def _post_training(sources: Sources, system: System, bits: int) -> Iterator[list[str]]:
    best = _psnr(_entry(sources, "float", 32), "Set5")
    for label in system.rows:
        entry = _entry(sources, label, bits)
        if entry is not None:
            effective = f"{entry['effective_weight_bits']:.2f} / {entry['effective_activation_bits']:.2f}"
            arithmetic = "integer" if entry["engine"] == "openvino" and not entry["float_layers"] else "float"
            set5, set14 = _psnr(entry, "Set5"), _psnr(entry, "Set14")
            numbers = [f"{set5:.2f}", f"{set14:.2f}", f"{best - set5:.2f}"]
            yield [f"`{label}`", effective, entry["ranges"], arithmetic, *numbers]


def _trained(sources: Sources, system: System, bits: int) -> Iterator[list[str]]:
    best = _psnr(_entry(sources, "float", 32), "Set5")
    for run in sources.trained:
        if run["label"] in system.trained and run["bits"] == bits:
            after = run["after"][0]
            cost, db = after["bits"], {score["dataset"]: score["psnr_y"] for score in after["scores"]}
            effective = f"{cost['effective_weight_bits']:.2f} / {cost['effective_activation_bits']:.2f}"
            arithmetic = "integer" if cost["engine"] == "openvino" and not cost["float_layers"] else "float"
            numbers = [f"{db['Set5']:.2f}", f"{db['Set14']:.2f}", f"{best - db['Set5']:.2f}"]
            yield [f"`{run['label']}`, {run['steps']} steps", effective, cost["ranges"], arithmetic, *numbers]


BY_PATCH = """\
8-bit weights; activation bits are chosen for each patch of 96x96. *FAB*: mean activation bits, over patches of 30
pictures of Urban100 ([qat_patches.md](qat_patches.md)). *Codes*: the most of one layer for one picture, weights /
activations.
"""


def patch_table(sources: Sources) -> Iterator[str]:
    """CADyQ and CABM: mean bits in the papers' tables, and here."""
    yield from _table(("", "claimed FAB (EDSR x4, Urban100)", "codes", "FAB here", "PSNR-Y here"))
    for system in SYSTEMS:
        for row in sources.patches:
            if row["name"] == system.by_patch:
                yield _line(system.name, _fabs(sources, system), codes(sources, system, 8), row["fab"], row["psnr_y"])


def _fabs(sources: Sources, system: System) -> str:
    rows = (row for row in sources.papers if row["method"] in system.published and row["dataset"] == "Urban100")
    return ", ".join(dict.fromkeys(row["fab"] for row in rows if row["model"] == "EDSR" and row["w_bits"] == "8"))


NOT_HERE = """\
Of these systems only published numbers are known, here on the first set of their table. What they spend and need was
not checked, except where the table says something else.
"""


def rival_table(sources: Sources) -> Iterator[str]:
    """The rows of ``rival_numbers.csv`` at the smallest scale of each system."""
    yield from _table(("", "source", "network", "claimed", "set", "PSNR", "codes", "ranges"))
    for rival in RIVALS:
        own = [row for row in sources.rivals if row["method"] == rival.name]
        models = {row["model"]: row["scale"] for row in sorted(own, key=lambda row: row["scale"], reverse=True)}
        seen: set[tuple[str, ...]] = set()
        for row in own:
            key = (row["model"], row["w_bits"], row["a_bits"])
            if models[row["model"]] == row["scale"] and key not in seen:
                seen.add(key)
                yield _rival_line(row, rival)


def _rival_line(row: dict[str, str], rival: Rival) -> str:
    marks = MIXED.get(row["mixed"], ("", ""))
    claimed = f"{row['w_bits']}{marks[0]} / {row['a_bits'] or row['fab']}{marks[1]}"
    network = f"{row['model']} x{row['scale']}"
    return _line(rival.name, row["seed"], network, claimed, row["dataset"], row["psnr"], rival.codes, rival.ranges)


def evidence(systems: tuple[System, ...] | tuple[Rival, ...]) -> list[str]:
    """A list item for each system of which something is known."""
    return [f"- **{system.name}**: {system.evidence}" for system in systems if system.evidence]


def _entry(sources: Sources, label: str, bits: int) -> dict[str, Any] | None:
    wanted = (NETWORK, label, bits)
    return next((e for e in sources.entries if (e["network"], e["label"], e["bits"]) == wanted), None)


def _psnr(entry: dict[str, Any] | None, benchmark: str) -> float:
    scores = [] if entry is None else entry["scores"]
    return next((score["psnr_y"] for score in scores if score["set"] == benchmark), float("nan"))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _table(head: tuple[str, ...]) -> list[str]:
    return [_line(*head), "| --- |" + " --- |" * (len(head) - 1)]


def _line(*cells: Any) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> int:
    """Write the page beside its JSON files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PATH")
    output = parser.parse_args().output
    try:
        output.write_text(page(read(output.parent, shared() / "methods")))
    except InputError as error:
        print(f"claims: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
