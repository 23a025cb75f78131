"""QuantSR's tables 1 and 2 of the supplement."""

from collections.abc import Iterator
from functools import partial

from ptq_networks import EDSR
from reproduce_counts import FLOAT_BITS, G, K, bicubic, edsr, quantsr, swinir
from reproduce_lines import beside
from reproduce_sources import Absent, Counted, Source, Trained
from reproduce_table import Count, Line, Printed, Table

PAPER = "QuantSR"
GPU = Absent("takes hours of a GPU: `srquant train --method quantsr --init FILE`; FILE: the float network")
DEEPER = Absent("edsr_r8f64_x2 has 8 blocks: the file of 16 would have to be trained for hours")

BLOCKS: dict[str, Source] = {"32": DEEPER, "16": Trained("quantsr", 4, 8), "8": Trained("quantsr", 4, 4)}
"""The paper's blocks -> ours at 4 bits, with half as many."""

BLOCKS_2: dict[str, Source] = {"32": DEEPER, "16": Trained("quantsr", 2, 8), "8": Trained("quantsr", 2, 4)}

PRINTED_K: dict[tuple[str, int], dict[int, tuple[float, ...]]] = {
    ("C", 4): {32: (451, 29.9, 67.0, 66.9), 16: (303, 20.2, 77.8, 77.5), 8: (230, 15.4, 83.1, 82.9)},
    ("C", 2): {32: (170, 11.5, 87.6, 87.2), 16: (161, 10.9, 88.2, 87.9), 8: (156, 10.6, 88.6, 88.3)},
    ("T", 4): {4: (154, 9.39, 83.37, 83.37), 2: (98.8, 6.03, 89.38, 89.32), 1: (71.0, 4.34, 92.36, 92.31)},
    ("T", 2): {4: (50.2, 3.08, 94.60, 94.55), 2: (46.8, 2.87, 94.97, 94.92), 1: (45.1, 2.77, 95.15, 95.09)},
}
"""Network and bits -> blocks -> K parameters, G operations, % fewer parameters, % fewer operations."""

COLUMNS = (K, G, f"{K}, % fewer", f"{G}, % fewer")
FULL = {"C": 16, "T": 4}
MODELS = {"C": "SRResNet", "T": "SwinIR_S"}
BUILD = {"C": edsr, "T": swinir}


def counted(variant: str, blocks: int, bits: int) -> Counted:
    """Parameters and operations of the paper's network."""

    def count() -> dict[str, float]:
        build = BUILD[variant]
        return quantsr(build(blocks, 2), build(FULL[variant], 2), bits)

    return Counted(f"counted as b/32, x2, 256x256 pixels, {blocks} blocks", count)


def costs() -> Iterator[Line]:
    """Table 2 without its PSNR."""
    for variant, printed in (("C", (1367, 90.1)), ("T", (930, 56.47))):
        label = f"{MODELS[variant]} in float"
        yield Line(Count(label, dict(zip((K, G), printed, strict=True))), counted(variant, FULL[variant], FLOAT_BITS))
        for bits in (4, 2):
            for blocks, values in PRINTED_K[variant, bits].items():
                row = Count(
                    f"QuantSR-{variant} W{bits}A{bits}, {blocks} blocks", dict(zip(COLUMNS, values, strict=True))
                )
                yield Line(row, counted(variant, blocks, bits))


def psnr(scale: int) -> Iterator[Line]:
    """Table 1 at one scale; our rows are those of x2 at both."""
    yield Line(Printed("-", scale, "Bicubic", 32, 32), Counted("bicubic", partial(bicubic, scale)))
    for model in MODELS.values():
        yield from floats(model, scale)
    for bits, ours in ((4, BLOCKS), (2, BLOCKS_2)):
        for blocks, source in ours.items():
            yield Line(Printed("SRResNet", scale, f"QuantSR-C-{blocks}blk", bits, bits), source if scale == 2 else GPU)
        for blocks in ("4", "2", "1"):
            yield Line(Printed("SwinIR_S", scale, f"QuantSR-T-{blocks}blk", bits, bits), GPU)


def floats(model: str, scale: int) -> Iterator[Line]:
    """The float network, as far as it stands for one of theirs."""
    printed = Printed(model, scale, "FP", 32, 32)
    if (model, scale) == ("SRResNet", 2):
        yield from beside(printed, (EDSR,), ("float",))
    else:
        yield Line(printed, GPU)


PRINTED_PSNR = {4: {"32": 32.17, "16": 32.00, "8": 31.75}, 2: {"32": 31.48, "16": 31.30, "8": 31.04}}
"""Bits -> blocks -> PSNR on Set5 x4 in table 2."""

FLOAT_PSNR = 32.16


def scores() -> Iterator[Line]:
    """The PSNR of table 2, of the networks that are at hand."""
    for bits, ours in ((4, BLOCKS), (2, BLOCKS_2)):
        for blocks, source in ours.items():
            psnr = PRINTED_PSNR[bits][blocks]
            label = f"QuantSR-C W{bits}A{bits}, {blocks} blocks"
            yield Line(Count(label, {"Set5": psnr}, {"Set5": FLOAT_PSNR - psnr}), source)


TABLES = (
    Table(
        PAPER,
        "1",
        "QuantSR on SRResNet and SwinIR_S",
        "edsr_r8f64_x2 stands for SRResNet x2 (an EDSR, in the released code), with 8 and 4 blocks for 16 and 8; 400 "
        "steps of 4 crops of 24x24, where published runs have hundreds of thousands of 16 crops of 48x48",
        (*psnr(2), *psnr(4)),
        60,
        ("1",),
        gpu="training as long as published, SwinIR_S, x4",
    ),
    Table(
        PAPER,
        "2",
        "parameters and operations, PSNR on Set5 x4",
        "Counted on the paper's networks of x2, which the printed numbers are of, though the caption says x4; the "
        "printed 2-bit rows count 1/128 instead of 2/32. Our parameters are weights alone, without biases. The printed "
        "PSNR is on Set5 x4; ours is that of edsr_r8f64_x2, as in table 1",
        (*costs(), *scores()),
        60,
        gpu="training as long as published",
    ),
)
