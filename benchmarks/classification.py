"""Top-1 of a ResNet-18, quantized by AdaRound, BRECQ, QDrop, PTMQ and GBA: a small one on scikit-learn's digits.

    OMP_NUM_THREADS=1 SRQUANT_SHARED=../shared python benchmarks/classification.py -o docs/results/classification
    python benchmarks/classification.py --imagenet DIR --weights resnet18.pth --published -o imagenet

The images are digits, not ImageNet: this shows that the methods work and doesn't reproduce the papers' numbers. It
fails if a method loses more than 0.4 points at W8A8. Who has ImageNet gives its folder (``train/CLASS/*`` and
``val/CLASS/*``) and a ResNet-18 with torchvision's keys; ``--published`` learns for as long as the papers do.
"""

import argparse
import csv
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import report
import torch
from digits import TRAIN_IMAGES, Digits, read_digits, train
from imagenet import read_imagenet

from srquant.classify import adaround, brecq, gba, ptmq, qdrop
from srquant.classify.evaluate import top1
from srquant.classify.insert import initialise_steps, insert_quantizers
from srquant.classify.resnet import ResNet18, folded, load_resnet18
from srquant.classify.units import block_units
from srquant.devices import find_device
from srquant.errors import InputError
from srquant.insertion.policy import LayerBits

BITS = (8, 6, 4, 3, 2)
W8A8_TOLERANCE = 0.4
ITERATIONS, ACTIVATION_ITERATIONS = 150, 75
ROUNDING_RATE, BRECQ_STEP_RATE, QDROP_STEP_RATE = 1e-2, 4e-3, 4e-4
IMAGES, GBA_IMAGES, GBA_EPOCHS = 256, 100, 1

Quantizer = Callable[[ResNet18, torch.Tensor], torch.nn.Module]


@dataclass(frozen=True)
class Contender:
    """A method with its options: one row of the table.

    Attributes:
        label: row of the table.
        paper: its name in the paper's table; None if the table doesn't have it.
        run: function of network and calibration images that gives the quantized network.
    """

    label: str
    paper: str | None
    run: Quantizer


@dataclass(frozen=True)
class Row:
    """One measurement: top-1 in percent, drops in points, seconds of one processor core."""

    method: str
    bits: str
    top1: float
    drop: float
    paper_drop: float | None
    seconds: float


def nearest(network: ResNet18, images: torch.Tensor, bits: LayerBits) -> ResNet18:
    """Searched grids and rounding to nearest, from which the other methods start."""
    student = insert_quantizers(folded(network), bits.weight, (bits.activation,))
    initialise_steps(student, images[: brecq.STEP_IMAGES])
    for unit in block_units(student):
        unit.switch_on(student, weights=True, activations=True)
    return student


def contenders(b: int, *, published: bool = False) -> Iterator[Contender]:
    """All methods at ``b`` bits, with options for digits or the published ones."""
    yield Contender("nearest", None, lambda n, x: nearest(n, x, LayerBits(b, b)))
    yield from as_published(b) if published else for_digits(b)
    if b > 2:
        yield from gba_contenders(LayerBits(b, b), gba.GBA().epochs if published else GBA_EPOCHS)


def as_published(b: int) -> Iterator[Contender]:
    """The methods that learn rounding, for as long as the papers do."""
    bits, groups = LayerBits(b, b), groups_of(b)
    yield Contender("AdaRound", "AdaRound", lambda n, x: adaround.quantize(n, x, bits, adaround.AdaRound()))
    yield Contender("BRECQ", "BRECQ", lambda n, x: brecq.quantize(n, x, bits, brecq.BRECQ()))
    yield Contender("QDrop", "QDrop", lambda n, x: qdrop.quantize(n, x, bits, qdrop.QDrop()))
    yield Contender("PTMQ", "PTMQ", lambda n, x: ptmq.quantize(n, x, bits, ptmq.PTMQ(groups=groups)))


def groups_of(b: int) -> tuple[int, int, int]:
    """PTMQ's groups of activation bits."""
    return (4, 6, 8) if b in (4, 6, 8) else (b, b + 2, b + 4)


def for_digits(b: int) -> Iterator[Contender]:
    """The methods that learn rounding, with few iterations and high rates."""
    bits = LayerBits(b, b)
    layers = adaround.AdaRound(
        ITERATIONS, ROUNDING_RATE, activation_iterations=ACTIVATION_ITERATIONS, step_rate=BRECQ_STEP_RATE
    )
    plain = brecq.BRECQ(ITERATIONS, ACTIVATION_ITERATIONS, ROUNDING_RATE, BRECQ_STEP_RATE)
    fisher = brecq.BRECQ(ITERATIONS, ACTIVATION_ITERATIONS, ROUNDING_RATE, BRECQ_STEP_RATE, loss="fisher_diag")
    drop = qdrop.QDrop(ITERATIONS, rounding_rate=ROUNDING_RATE, step_rate=QDROP_STEP_RATE)
    multi = ptmq.PTMQ(ITERATIONS, groups_of(b), rounding_rate=ROUNDING_RATE)
    yield Contender("AdaRound", "AdaRound", lambda n, x: adaround.quantize(n, x, bits, layers))
    yield Contender("BRECQ", "BRECQ", lambda n, x: brecq.quantize(n, x, bits, plain))
    yield Contender("BRECQ, fisher_diag", "BRECQ", lambda n, x: brecq.quantize(n, x, bits, fisher))
    yield Contender("QDrop", "QDrop", lambda n, x: qdrop.quantize(n, x, bits, drop))
    yield Contender("PTMQ", "PTMQ", lambda n, x: ptmq.quantize(n, x, bits, multi))


def gba_contenders(bits: LayerBits, epochs: int) -> Iterator[Contender]:
    """GBA with static and with dynamic ranges, weights per tensor and per channel."""
    for dynamic, ranges in ((False, "static ranges"), (True, "DAN")):
        for weights in ("tensor", "channel"):
            config = gba.GBA(dynamic=dynamic, weights=weights, epochs=epochs)
            yield Contender(
                f"GBA, {ranges}, weights per {weights}",
                "GBA",
                lambda n, x, config=config: gba.quantize(n, x[:GBA_IMAGES], bits, config),
            )


def paper_drops() -> dict[tuple[str, int], float]:
    """Points lost on ImageNet by method and bits, from ``$SRQUANT_SHARED``; empty if that is not set."""
    path = Path(os.environ.get("SRQUANT_SHARED", ""), "methods", "paper_numbers_classification.csv")
    if "SRQUANT_SHARED" not in os.environ or not path.is_file():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["method"], int(row["bits"])): float(row["fp_top1"]) - float(row["top1"]) for row in rows}


def main() -> None:
    """Read the command line, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=16, help="channels of the stem")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of training")
    parser.add_argument("--only", default="", help="measure only methods whose row contains this text")
    parser.add_argument("--imagenet", type=Path, metavar="DIR", help="train/CLASS/* and val/CLASS/* instead of digits")
    parser.add_argument("--weights", type=Path, help="ResNet-18 with torchvision's keys, for --imagenet")
    parser.add_argument("--images", type=int, default=IMAGES, help="calibration images; the papers have 1024")
    parser.add_argument("--tested", type=int, default=2000, help="validation images of --imagenet, held in memory")
    parser.add_argument("--published", action="store_true", help="learn for as long as the papers do: hours")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--bits", type=int, action="append", help="repeatable; without it 8, 6, 4, 3 and 2")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    if (arguments.imagenet is None) != (arguments.weights is None):
        parser.error("--imagenet and --weights go together")
    try:
        measure(arguments)
    except InputError as error:
        sys.exit(f"classification: {error}")


def pictures_and_network(arguments: argparse.Namespace) -> tuple[Digits, ResNet18]:
    """What the command line asks for."""
    if arguments.imagenet is None:
        digits = read_digits(arguments.seed)
        return digits, train(digits, arguments.width, arguments.epochs, arguments.seed)
    network = load_resnet18(arguments.weights)
    count = arguments.images, arguments.tested
    return read_imagenet(arguments.imagenet, network.classes, *count, arguments.seed), network


def measure(arguments: argparse.Namespace) -> None:
    """Quantize by all methods, write the table."""
    torch.set_num_threads(1)
    device = find_device(arguments.device)
    digits, network = pictures_and_network(arguments)
    digits, network = digits.to(device), network.to(device)
    exact = top1(network, digits.test_images, digits.test_labels)
    rows, papers = [Row("float", "", exact, 0.0, None, time.process_time())], paper_drops()
    for b in arguments.bits or BITS:
        for contender in contenders(b, published=arguments.published):
            if arguments.only in contender.label:
                start = time.process_time()
                quantized = contender.run(network, digits.train_images[: arguments.images])
                seconds = time.process_time() - start
                score = top1(quantized, digits.test_images, digits.test_labels)
                paper = papers.get((contender.paper or "", b))
                rows.append(Row(contender.label, f"W{b}A{b}", score, exact - score, paper, seconds))
                print(rows[-1], flush=True)
    write(arguments, len(digits.test_labels), rows, bool(papers))
    sys.exit(any(row.bits == "W8A8" and row.drop > W8A8_TOLERANCE for row in rows))


def about_imagenet(arguments: argparse.Namespace, test_images: int) -> str:
    """What was measured, with the user's pictures."""
    length = "as long as published" if arguments.published else f"{ITERATIONS} iterations per unit, far from published"
    return (
        f"{test_images} validation pictures of ImageNet, {arguments.images} training pictures for calibration "
        f"({GBA_IMAGES} for GBA), seed {arguments.seed}; the middle 224x224 of pictures whose shorter side is 256. "
        f"Learning: {length}. Batch norms folded; first and last layer 8 bit. Compare drops: the papers' float network "
        "has 71.0 %. Seconds: of one core, for float those of reading and testing."
    )


def about_digits(arguments: argparse.Namespace, test_images: int) -> str:
    """What was measured, with digits."""
    return (
        "**Digits, not ImageNet**: the drops show that the methods work and how they order on an easy task; they do "
        "not reproduce the paper's. "
        f"ResNet-18, {arguments.width} channels in the stem, trained {arguments.epochs} epochs on {TRAIN_IMAGES} of "
        f"scikit-learn's digits (8x8, enlarged to 32x32), tested on the other {test_images}; one image is "
        f"{100 / test_images:.2f} points. Seed {arguments.seed}. Batch norms folded; first and last layer 8 bit. "
        f"{ITERATIONS} iterations per unit where the papers have 5,000 to 20,000 ({ACTIVATION_ITERATIONS} for "
        f"activations alone), with ten times their learning rates (PTMQ's of activations: as published); "
        f"{arguments.images} calibration images where they have 1024; GBA: {GBA_IMAGES} images, {GBA_EPOCHS} of 2 "
        "epochs, bits of weights "
        "and activations both mixed. GBA with DAN has dynamic ranges per input channel and image, which no integer "
        "convolution offers: not comparable with the static rows. No GBA at W2A2: it would need one bit; at W8A8 some "
        "layers have 9. PTMQ's groups of activation bits: 4, 6, 8; at W3A3 3, 5, 7 and at W2A2 2, 4, 6. One seed: "
        "differences of a few images mean nothing. Seconds: of one core, for float those of training."
    )


def write(arguments: argparse.Namespace, test_images: int, rows: list[Row], papers: bool) -> None:
    """Write the table with what was measured and how."""
    about = (about_digits if arguments.imagenet is None else about_imagenet)(arguments, test_images)
    columns = {"method": "method", "bits": "bits", "top1": "top-1, %", "drop": "drop"}
    if papers:
        columns["paper_drop"] = "paper's drop on ImageNet"
    report.write(arguments.output, "Classification", about, rows, columns | {"seconds": "s"})


if __name__ == "__main__":
    main()
