"""Sentences of the documentation whose numbers are those of ``docs/results/*.json``.

    python benchmarks/prose.py      prints sentences that a page doesn't have, and numbers that no sentence has

``prose_sentences.py`` has the sentences. A sentence is a part of a page, of any length, with the numbers filled in from
the JSON files by the functions below. To change a number in the text, change it in the page; to add one, also add its
sentence there. ``tests/test_prose_numbers.py`` runs the same comparison.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"

EDSR, RNET, IMDTN = "edsr_r8f64_x2", "rnet_r9f64_x4", "imdtn_x4"
SET5, SET14 = "Set5", "Set14"

DECIBELS = re.compile(r"(?<![\d.])\d{2}\.\d{2,3}(?![\d.])")
"""Numbers that look like PSNR: two digits before the point, two or three behind it."""


class TwoDigits(float):
    """A number that f-strings write with two digits behind the point, if they don't ask for another format."""

    def __format__(self, spec: str) -> str:
        """As for ``float``, whose default is ``.2f`` here."""
        return super().__format__(spec or ".2f")


@cache
def results(name: str) -> dict[str, Any]:
    """The content of ``docs/results/NAME.json``."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def entry(label: str, bits: int = 4, network: str = EDSR) -> dict[str, Any]:
    """A row of ``ptq.json``.

    Raises:
        LookupError: there is no such row.
    """
    return _only("ptq", results("ptq")["entries"], network=network, label=label, bits=bits)


def psnr(label: str, bits: int = 4, network: str = EDSR, on: str = SET5, seed: int | None = None) -> TwoDigits:
    """PSNR-Y in dB of a row of ``ptq.json`` on a set: the mean over seeds, or of one seed."""
    score = _only("ptq", entry(label, bits, network)["scores"], set=on)
    return TwoDigits(score["psnr_y"] if seed is None else score["by_seed"][str(seed)])


def both(label: str, bits: int = 4, network: str = EDSR, seed: int | None = None, sep: str = " / ") -> str:
    """PSNR of a row of ``ptq.json`` on Set5 and Set14, with two digits."""
    return sep.join(f"{psnr(label, bits, network, on, seed)}" for on in (SET5, SET14))


def fab(label: str, on: str = SET5, seed: int | None = None) -> TwoDigits:
    """Mean activation bits of a row of EDSR at 4 bits in ``ptq.json``: the mean over seeds, or of one seed."""
    score = _only("ptq", entry(label)["scores"], set=on)
    return TwoDigits(score["fab"] if seed is None else score["fab_by_seed"][str(seed)])


def trained(label: str, bits: int) -> dict[str, Any]:
    """A run of ``qat.json``."""
    return _only("qat", results("qat")["runs"], label=label, bits=bits)


def after(label: str, bits: int, on: str = SET5, depth: int = 8) -> TwoDigits:
    """PSNR-Y in dB of a run of ``qat.json`` on a set."""
    scores = _only("qat", trained(label, bits)["after"], depth=depth)["scores"]
    return TwoDigits(_only("qat", scores, dataset=on)["psnr_y"])


def before(label: str, bits: int, on: str = SET5) -> TwoDigits:
    """PSNR-Y in dB on a set of the network that a run of ``qat.json`` starts from."""
    return TwoDigits(_only("qat", trained(label, bits)["before"], set=on)["psnr_y"])


def best_post_training(bits: int, ranges: str | None = None) -> TwoDigits:
    """Best PSNR-Y on Set5 of EDSR's rows in ``ptq.json`` but ``distill``; with ``static`` or ``dynamic`` ranges."""
    rows = [row for row in results("ptq")["entries"] if (row["network"], row["bits"]) == (EDSR, bits)]
    rows = [row for row in rows if not row["label"].startswith("distill")]
    return max(psnr(row["label"], bits) for row in rows if ranges in (None, row["ranges"]))


def quality(setting: str) -> dict[str, Any]:
    """A row of ``quality.json``."""
    return _only("quality", results("quality")["rows"], setting=setting)


def fair(column: str, bits: int, network: str = EDSR, sep: str = " / ") -> str:
    """PSNR-Y in dB on Set5 and Set14 of a cell of ``fair.json``, with two digits."""
    means = _only("fair", results("fair")["rows"], network=network, bits=bits)["scores"][column]["psnr_y"]
    return sep.join(f"{means[name]:.2f}" for name in (SET5, SET14))


def timed(engine: str, precision: str) -> dict[str, Any]:
    """A row of ``engines.json``."""
    return _only("engines", results("engines")["rows"], engine=engine, precision=precision)


def body_ms(engine: str, size: str) -> float:
    """Milliseconds of EDSR's body in an engine, from ``gpu.json``."""
    rows = results("gpu")["steps"]["engines"]["rows"]
    return float(_only("gpu", [row for row in rows if "size" in row], engine=engine, size=size)["median_ms"])


def agreement(method: str, engine: str) -> dict[str, Any]:
    """How a method's picture on the CPU and on the GPU differ, from ``gpu.json``."""
    return _only("gpu", results("gpu")["steps"]["agreement"]["rows"], method=method, engine=engine)


def why(label: str) -> dict[str, Any]:
    """A point of ``ptq_why.json``."""
    return _only("ptq_why", results("ptq_why")["points"], label=label)


def by_patch(name: str) -> dict[str, Any]:
    """A row of ``qat_patches.json``."""
    return _only("qat_patches", results("qat_patches")["rows"], name=name)


def relation(value: float, other: float, equal: float = 0.05) -> str:
    """``above``, ``below`` or ``about equal to``, for sentences that compare two PSNR."""
    return "about equal to" if abs(value - other) <= equal else "above" if value > other else "below"


def missing(sentences: Iterable[str], page: str) -> list[str]:
    """Sentences that a page doesn't have, however its lines are broken."""
    text = _plain(page)
    return [sentence for sentence in map(_plain, sentences) if sentence not in text]


def uncovered(sentences: Iterable[str], page: str) -> list[str]:
    """Numbers of a page that look like PSNR and are in none of the sentences."""
    text = _plain(page)
    covered = [match.span() for part in sentences for match in re.finditer(re.escape(_plain(part)), text)]
    numbers = DECIBELS.finditer(text)
    return [n[0] for n in numbers if not any(start <= n.start() and n.end() <= end for start, end in covered)]


def _plain(text: str) -> str:
    return " ".join(text.split())


def _only(file: str, rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{file}.json has {len(found)} rows with {wanted}: correct prose_sentences.py")
    return found[0]


def main() -> None:
    """Print what differs."""
    from prose_sentences import COMPLETE, ELSEWHERE, SENTENCES

    for page, sentences in SENTENCES.items():
        text, wanted = (ROOT / page).read_text(), list(sentences())
        for sentence in missing(wanted, text):
            print(f"{page} doesn't say: {sentence}")
        for number in uncovered([*wanted, *ELSEWHERE.get(page, ())], text) if page in COMPLETE else ():
            print(f"{page}: {number} is in no sentence of prose_sentences.py")


if __name__ == "__main__":
    main()
