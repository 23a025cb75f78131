"""Losses in the papers' tables: PSNR of their float network minus PSNR of the quantized one."""

import csv
from dataclasses import dataclass
from pathlib import Path

PAPERS = {"000": "GBA", "004": "AdaBM", "003": "outlier-aware", "002": "2DQuant", "001": "QuantSR"}
"""Papers by their number in the file; where several have a row, the first one is taken."""

FLOAT = "FP"
Key = tuple[str, int, str, int, str]
"""Network, scale, method, bits, set."""


@dataclass(frozen=True)
class Drop:
    """A paper's loss in dB, and the paper whose table has it."""

    paper: str
    db: float


def drops(path: Path) -> dict[Key, Drop]:
    """Losses of all rows whose paper also has the float network; empty if the file is missing.

    Args:
        path: ``paper_numbers.csv``.
    """
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["seed"] in PAPERS and row["psnr"]]
    rows.sort(key=lambda row: list(PAPERS).index(row["seed"]))
    floats = {_place(row): float(row["psnr"]) for row in rows if row["method"] == FLOAT}
    found: dict[Key, Drop] = {}
    for row in rows:
        if row["method"] != FLOAT and row["w_bits"] == row["a_bits"] and _place(row) in floats:
            key = (row["model"], int(row["scale"]), row["method"], int(row["w_bits"]), row["dataset"])
            found.setdefault(key, Drop(PAPERS[row["seed"]], floats[_place(row)] - float(row["psnr"])))
    return found


def _place(row: dict[str, str]) -> tuple[str, str, str, str]:
    return row["seed"], row["model"], row["scale"], row["dataset"]
