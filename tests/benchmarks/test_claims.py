"""The page "claimed, counted, run": its lines follow from the JSON files and the papers' tables."""

import json
from dataclasses import replace
from pathlib import Path

import claims
import pytest
import qat
from claims import Sources, codes, kind, lines_of_bits, page, patch_table, read, rival_table, short
from claims_count import CASES
from claims_systems import PARTS, RIVALS, SYSTEMS, Rival, System
from ptq_papers import Drop
from ptq_rows import ROWS

from srquant.errors import InputError

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def entry(label: str, bits: int, set5: float, **more: object) -> dict[str, object]:
    scores = [{"set": "Set5", "psnr_y": set5}, {"set": "Set14", "psnr_y": set5 - 4}]
    bits_used = {"effective_activation_bits": 3.5, "effective_weight_bits": 3.9}
    run = {"network": "edsr_r8f64_x2", "label": label, "bits": bits, "scores": scores, **bits_used}
    return {**run, "ranges": "static", "engine": "openvino", "float_layers": 0, "overspends": 0, **more}


@pytest.fixture
def sources() -> Sources:
    after = {
        "bits": {
            "effective_activation_bits": 4.2,
            "effective_weight_bits": 4.0,
            "ranges": "dynamic",
            "engine": "torch",
        },
        "scores": [{"dataset": "Set5", "psnr_y": 37.0}, {"dataset": "Set14", "psnr_y": 33.0}],
    }
    claimed = {"w_bits": "4", "a_bits": "4", "dataset": "Urban100", "model": "EDSR", "fab": "6.6"}
    rival = {"seed": "journal", "method": "X", "dataset": "Set5", "psnr": "38.00", "mixed": "none", "w_bits": "2"}
    return Sources(
        counted=[
            {"label": "one", "bits": 4, "weight_codes": 15, "activation_codes": 32, "over": 3, "ranges": "static"},
            {"label": "one", "bits": 8, "weight_codes": 255, "activation_codes": 200, "over": 0, "ranges": "dynamic"},
        ],
        entries=[entry("float", 32, 38.0), entry("one row", 4, 37.4), entry("one row", 3, 36.0, float_layers=2)],
        trained=[{"label": "two", "bits": 4, "steps": 9, "after": [after]}],
        patches=[{"name": "one", "fab": 5.9, "psnr_y": 31.2}],
        papers=[claimed | {"method": "One", "mixed": "a"}, claimed | {"method": "One", "w_bits": "8", "mixed": "a"}],
        rivals=[rival | {"model": "M", "scale": scale, "a_bits": "2", "fab": ""} for scale in ("3", "2")],
        losses={("EDSR", 2, "One", 4, "Set5"): Drop("paper", 0.4)},
    )


ONE = System("First", ("One",), ("one row", "no row"), counted="one", by_patch="one")


def test_a_measured_row_is_beside_its_claim(monkeypatch, sources):
    monkeypatch.setattr(claims, "SYSTEMS", (ONE,))
    assert list(lines_of_bits(sources, 4)) == [
        "| First | `one row` | 4 / 4MP | 15 / 32 † | 3.90 / 3.50 | static | integer | 37.40 | 33.40 | 0.60 "
        "| 0.40 (EDSR x2) |"
    ]
    (line,) = lines_of_bits(sources, 3)
    assert line.startswith("| First | `one row` |  |  | 3.90 / 3.50 | static | float | 36.00 |")
    assert list(lines_of_bits(sources, 2)) == []


def test_a_claim_without_a_row_has_a_line_too(monkeypatch, sources):
    monkeypatch.setattr(claims, "SYSTEMS", (replace(ONE, rows=()),))
    assert list(lines_of_bits(sources, 4)) == ["| First |  | 4 / 4MP | 15 / 32 † |  |  |  |  |  |  | 0.40 (EDSR x2) |"]


def test_trained_rows(monkeypatch, sources):
    monkeypatch.setattr(claims, "SYSTEMS", (System("Second", (), trained=("two",)),))
    (line,) = lines_of_bits(sources, 4)
    assert line == "| Second | `two`, 9 steps |  |  | 4.00 / 4.20 | dynamic | float | 37.00 | 33.00 | 1.00 |  |"


def test_bits_by_patch(monkeypatch, sources):
    monkeypatch.setattr(claims, "SYSTEMS", (ONE, System("Second", ())))
    assert list(patch_table(sources))[2:] == ["| First | 6.6 | 255 / 200 | 5.9 | 31.2 |"]


def test_rivals_are_listed_at_their_smallest_scale(monkeypatch, sources):
    monkeypatch.setattr(claims, "RIVALS", (Rival("X", "many"),))
    lines = list(rival_table(sources))[2:]
    assert lines == ["| X | journal | M x2 | 2 / 2 | Set5 | 38.00 | many | not checked |"]


@pytest.mark.parametrize(
    ("weights", "activations", "over", "says"),
    [
        (16, 15, 0, "At most 16 codes in every layer at 4 bits"),
        (16, 32, 0, "16 codes only as a mean at 4 bits, more in single layers"),
        (16, 32, 1, "More than 16 codes at 4 bits"),
    ],
)
def test_kinds_of_grids(weights, activations, over, says):
    assert kind({"bits": 4, "weight_codes": weights, "activation_codes": activations, "over": over}) == says


def test_systems_are_listed_by_codes_and_measured_ranges(monkeypatch, sources):
    monkeypatch.setattr(claims, "SYSTEMS", (ONE, System("Second", (), trained=("two",), counted="one")))
    first, second, *best = short(sources)
    assert first == "- **More than 16 codes at 4 bits, dynamic ranges**: Second."
    assert second == "- **More than 16 codes at 4 bits, static ranges**: First."
    assert best[0] == "- Best post-training row of Set5, 4 bits, static ranges: `one row`, 37.40 dB."


def test_systems_name_rows_and_counts_that_there_are():
    labels, runs = {row.label for row in ROWS}, {row.label for row in qat.ROWS}
    counted = {case.label for case in CASES}
    for system in SYSTEMS:
        assert set(system.rows) <= labels
        assert set(system.trained) <= runs
        assert system.counted is None or system.counted in counted


def test_everything_is_counted():
    rows = json.loads((RESULTS / "claimed_counted_run.json").read_text())["rows"]
    assert [(row["label"], row["bits"]) for row in rows] == [(case.label, bits) for case in CASES for bits in case.bits]


def test_every_system_of_the_rivals_table_is_in_the_page(shared):
    names = {row["method"] for row in read(RESULTS, shared / "methods").rivals} - set(PARTS)
    ours = {name for system in SYSTEMS for name in (system.name, *system.published)}
    assert names - ours == {rival.name for rival in RIVALS}


def test_the_page_is_that_of_the_published_results(shared):
    text = (RESULTS / "claimed_counted_run.md").read_text()
    assert page(read(RESULTS, shared / "methods")) == text, "run benchmarks/claims.py again"


def test_missing_tables_are_named(tmp_path):
    with pytest.raises(InputError, match=r"paper_numbers.csv is missing: set SRQUANT_SHARED"):
        read(RESULTS, tmp_path)


def test_codes_that_were_not_counted_are_empty(sources):
    assert codes(sources, ONE, 2) == ""
