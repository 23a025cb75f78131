"""How many codes each method's grids spend: the packaged network is quantized without learning, its codes counted.

    python benchmarks/claims_count.py -o docs/results/claimed_counted_run.json
    python benchmarks/claims_count.py -o docs/results/claimed_counted_run.json --method gba    counts this method again

Learning moves bounds but doesn't change the number of grid points, so that a few pictures and no steps are enough. The
codes are those that the cost report (``srquant evaluate``) sees on centre crops of Set5.
"""

import argparse
import datetime
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ptq_rows import CALIBRATION, CNN
from ptq_run import shared, write
from report import machine

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.data.pairs import PairSet
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.cost.report import centre_crops, cost_report
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.methods.trained_registry import TRAINED
from srquant.models.load import load_model
from srquant.models.packaged import DEFAULT, packaged_models

SCALE = 2
PAIRS = "data/BSDS500_train/HR"
PICTURES, PATCH, SIDE = 8, 48, 64
"""Calibration crops and their sides; sides of the crops whose codes are counted."""

STEPS = 60
"""Of the training run that is only prepared; DDTB divides it into 60 epochs."""

FOUR_TO_TWO = (4, 3, 2)


@dataclass(frozen=True)
class Case:
    """A method with the settings that leave learning out.

    Attributes:
        label: of the result, as ``claims_systems.py`` names it.
        method: in ``METHODS``, or in ``TRAINED``.
        settings: as ``srquant quantize --set`` takes them.
        bits: of weights and activations; the method must be defined for them.
    """

    label: str
    method: str
    settings: tuple[str, ...] = ()
    bits: tuple[int, ...] = FOUR_TO_TWO


CASES = (
    Case("minmax", "minmax"),
    Case("percentile", "percentile"),
    Case("mse", "mse"),
    Case("distill", "distill", ("steps=1",)),
    Case("ptq4sr", "ptq4sr", ("pac=false",)),
    Case("adabm", "adabm", ("finetune=false", "clamp_bits=true")),
    Case("2dquant", "2dquant", ("dqc=false",)),
    Case("outlier-aware", "outlier-aware", ("finetune=none",), (4, 3)),
    Case("outlier-aware, levels of the code", "outlier-aware", ("finetune=none", "levels=code"), (4, 3)),
    Case("gba", "gba", ("finetune=false",), (4, 3)),
    Case("gba*", "gba", ("finetune=false", "mixed=both"), (4, 3)),
    Case("gba without DAN", "gba", ("finetune=false", "dan_stages=none"), (4, 3)),
    Case("dorefa", "dorefa"),
    Case("pams", "pams"),
    Case("daq", "daq"),
    Case("ddtb", "ddtb"),
    Case("odm", "odm"),
    Case("quantsr", "quantsr"),
    Case("cadyq", "cadyq", (), (8,)),
)


@dataclass(frozen=True)
class Counted:
    """Codes of the layers between head and tail.

    Attributes:
        label: of the case.
        bits: claimed.
        weight_codes: most codes in the weight of one layer.
        activation_codes: most codes at the input of one layer; for one picture where grids depend on the picture.
        over: number of layers, head and tail included, with more codes than their own bits hold.
        ranges: ``dynamic`` where activation ranges depend on the picture, else ``static``.
    """

    label: str
    bits: int
    weight_codes: int
    activation_codes: int
    over: int
    ranges: str


def count(case: Case, bits: int) -> Counted:
    """Quantize without learning, and count."""
    model = trained(case, bits) if case.method in TRAINED else post_training(case, bits)
    report = cost_report(model, centre_crops(BenchmarkSet(shared() / "data" / "Set5", SCALE), SIDE))
    inside = [layer for layer in report.layers if layer.name not in model.network.facts.ends]
    return Counted(
        case.label,
        bits,
        max(layer.weight_codes or 0 for layer in inside),
        max(max(layer.activation_codes) for layer in inside),
        len(report.layers_exceeding_bits),
        report.ranges,
    )


def post_training(case: Case, bits: int) -> FrozenModel:
    """The network after a method of ``srquant quantize``; head and tail at 8 bits."""
    method = METHODS[case.method]
    pictures = CalibrationSet(shared() / CALIBRATION, PICTURES, 0, PATCH)
    policy = Policy(LayerBits(bits, bits), kinds=CNN)
    config = configure(method.config, case.settings)
    return freeze(method.quantize(load_model(packaged_models()[DEFAULT]), pictures, policy, config))


def trained(case: Case, bits: int) -> FrozenModel:
    """The network that a run of ``srquant train`` starts from; head and tail float."""
    method = TRAINED[case.method]
    pairs = PairSet((shared() / PAIRS,), SCALE, PATCH, 0)
    crops = [pairs.batch(range(PICTURES))[0].float() / 255]
    policy = Policy(LayerBits(bits, bits), None, None)
    config = configure(method.config, case.settings)
    return freeze(method.prepare(load_model(packaged_models()[DEFAULT]), crops, policy, config, STEPS).result())


def chosen(labels: list[str]) -> Iterator[tuple[Case, int]]:
    """Cases and bits of the methods on the command line; all of them without any."""
    yield from ((case, bits) for case in CASES for bits in case.bits if not labels or case.label in labels)


def main() -> None:
    """Count, and write the results into the file; results of other methods stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PATH")
    parser.add_argument("--method", action="append", default=[], metavar="LABEL", help="repeatable; default: all")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(arguments.output.read_text())["rows"] if arguments.output.exists() else []
    for case, bits in chosen(arguments.method):
        found = asdict(count(case, bits))
        print(found, flush=True)
        rows = [row for row in rows if (row["label"], row["bits"]) != (case.label, bits)] + [found]
        order = {case.label: number for number, case in enumerate(CASES)}
        rows.sort(key=lambda row: (order.get(row["label"], len(order)), -row["bits"]))
        write({"machine": machine(), "date": datetime.date.today().isoformat(), "rows": rows}, arguments.output)


if __name__ == "__main__":
    main()
