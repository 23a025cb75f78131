"""2DQuant's tables 2, 3 and 4a to 4c, and the ratios that its summary prints."""

from functools import partial

from ptq_networks import EDSR, IMDTN
from reproduce_counts import COMPRESSION, SHARE, SPEED, G, two_d_quant_operations, two_d_quant_ratios
from reproduce_lines import beside, models, quality, stand_in
from reproduce_runs import float_run, short
from reproduce_sources import Absent, Counted, Quantized, Source
from reproduce_table import Count, Line, Printed, Table

PAPER = "2DQuant"
METHODS = {
    "MinMax": ("minmax",),
    "Percentile": ("percentile",),
    "DBDC+Pac": ("ptq4sr",),
    "DOBI": ("2dquant DOBI",),
    "2DQuant": ("2dquant",),
}
PARTS = {
    "2DQuant[no DOBI no DQC]": ("minmax",),
    "2DQuant[DOBI]": ("2dquant DOBI",),
    "2DQuant[DQC]": ("2dquant DQC",),
    "2DQuant[DOBI+DQC]": ("2dquant",),
}
SCALES = (2, 3, 4)
SWINIR = tuple(("SwinIR-light", scale) for scale in SCALES)
PRINTED_RATIOS = {4: (3.07, 3.99), 3: (3.31, 4.47), 2: (3.60, 5.08)}
STEPS = 60
SHORT = (
    "**Short**: edsr_r8f64_x2 stands for SwinIR-light x2, W4A4, 60 steps of 2 crops (the paper: 3000 of 32), 20 crops "
    "of 48x48, one seed, Set5. Differences below 0.1 dB mean nothing. Learning rates are 0.3 of the printed ones, "
    "times each range"
)


def sweep(rate: str, batch: int) -> Source:
    """One point of the sweeps: learning rate times each range, crops per step."""
    settings = (f"iterations={STEPS}", f"batch={batch}", "rates=relative", f"learning_rate={rate}")
    return Quantized((short(f"2dquant, rate {rate}, batch {batch}", "2dquant", *settings),), float_run(EDSR))


RATES: dict[str, Source] = {
    "lr=1e-1": sweep("0.03", 2),
    "lr=1e-2": sweep("0.003", 2),
    "lr=1e-3": sweep("0.0003", 2),
    "lr=1e-4": sweep("0.00003", 2),
}
BATCHES: dict[str, Source] = {
    "bs=4": sweep("0.003", 2),
    "bs=8": sweep("0.003", 4),
    "bs=16": sweep("0.003", 8),
    "bs=32": sweep("0.003", 16),
}


def points(found: dict[str, Source]) -> tuple[Line, ...]:
    """Rows of a sweep."""
    return tuple(Line(Printed("SwinIR-light", 2, f"{PAPER}[{name}]", 4, 4), ours) for name, ours in found.items())


def operations(label: str, giga: float, share: float, *, products: bool) -> Line:
    """A row of table 2."""
    counted = Counted("SwinIR-light x4, 128x128 pixels", partial(two_d_quant_operations, products))
    return Line(Count(label, {G: giga, SHARE: share}), counted)


def ratio(bits: int, parameters: float, operations: float) -> Line:
    """A row of the ratios."""
    counted = Counted("SwinIR-light x4, linear layers and products b/32", partial(two_d_quant_ratios, bits))
    return Line(Count(f"{bits} bits", {COMPRESSION: parameters, SPEED: operations}), counted)


OTHERS = tuple(
    Line(Printed(model, scale, method, bits, bits), Absent(reason))
    for model, method, bits, scales, reason in (
        ("SwinIR-light", "Bicubic", 32, SCALES, "the paper's bicubic is another one: MATLAB's has 33.66 dB on Set5 x2"),
        ("EDSR-large", "DBDC+Pac(cited,self-ens)", 4, (2, 4), "cited by the paper, with eight turns of each picture"),
    )
    for scale in scales
)

TABLES = (
    Table(
        PAPER,
        "2",
        "operations of SwinIR-light",
        "Counted; 128x128 low-resolution pixels explain the printed operations of linear layers and products, no size "
        "explains those of convolutions: so the printed shares, and the ratios of operations, are above ours",
        (
            operations("linear layers and products", 14.34, 85.66, products=True),
            operations("convolutions", 2.33, 13.90, products=False),
            Line(Count("other", {G: 0.07, SHARE: 0.44}), Absent("norms and activations aren't counted")),
            *(ratio(bits, *printed) for bits, printed in PRINTED_RATIOS.items()),
        ),
        1,
    ),
    Table(
        PAPER,
        "3",
        "methods on SwinIR-light",
        stand_in(*SWINIR),
        (*quality(models(*SWINIR), METHODS, (4, 3, 2)), *OTHERS),
        500,
        ("3",),
        gpu="DQC as long as published (3000 steps of 32 crops)",
    ),
    Table(PAPER, "4a", "learning rate of DQC", SHORT, points(RATES), 3, ("4",)),
    Table(PAPER, "4b", "crops per step of DQC", f"{SHORT}; half of the printed crops", points(BATCHES), 4, ("4",)),
    Table(
        PAPER,
        "4c",
        "parts of 2DQuant, SwinIR-light x2, W4A4",
        "edsr_r8f64_x2 (three seeds) and imdtn_x4, which has SwinIR's blocks (one seed), stand for SwinIR-light x2",
        tuple(
            line
            for method, labels in PARTS.items()
            for line in beside(Printed("SwinIR-light", 2, method, 4, 4), (EDSR, IMDTN), labels)
        ),
        60,
        ("4",),
    ),
)
