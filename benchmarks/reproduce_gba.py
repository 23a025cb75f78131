"""GBA's tables: 1 to 11 of the supplement, and those of the main text that are known from notes."""

from ptq_networks import EDSR
from ptq_run import Run
from reproduce_lines import AT_HAND, beside, measured, models, quality, stand_in
from reproduce_runs import float_run, short
from reproduce_sources import Absent, Quantized, Source, Tabulated
from reproduce_table import Count, Line, Printed, Table

PAPER = "GBA"
NETWORKS = (("EDSR", 4), ("RDN", 4))
NETWORKS_X2 = (("EDSR", 2), ("RDN", 2))
CARN, SRRESNET = ("CARN", 4), ("SRResNet", 4)
METHODS = {
    "MinMax+FT": ("minmax+FT",),
    "Percentile+FT": ("percentile+FT",),
    "PTQ4SR": ("ptq4sr",),
    "AdaBM": ("adabm", "adabm relative"),
    "AdaBM*": ("adabm*", "adabm* relative"),
    "GBA": ("gba", "gba relative"),
    "GBA*": ("gba*", "gba* relative"),
}
MAIN = {name: METHODS[name] for name in ("AdaBM", "GBA", "GBA*")}
ABLATION = {
    "GBA[none]": ("gba none",),
    "GBA[wGBA]": ("gba w", "gba w, relative"),
    "GBA[aGBA]": ("gba without DAN", "gba without DAN, relative"),
    "GBA[DAN]": ("gba DAN", "gba DAN, relative"),
    "GBA[aGBA+DAN]": ("gba", "gba relative"),
    "GBA[all]": ("gba*", "gba* relative"),
}

FITTING = ("mixed=both", "rates=relative", "learning_rate=0.003")
"""GBA* with rates times each range; the published ones are too high for this network."""

SHORT = (
    "**Short**: edsr_r8f64_x2 stands for EDSR x4, W4A4, 20 calibration crops of 48x48, one seed, Set5 only (the paper: "
    "100 crops of 96x96, Urban100 too). GBA* with learning rates 0.003 times each range unless the row says otherwise. "
    "Differences below 0.1 dB mean nothing."
)


def sweep(label: str, *settings: str, count: int = 20, patch: int = 48) -> Source:
    """One point of a sweep: the short run, with these settings changed."""
    return _point(short(f"gba*, {label}", "gba", *FITTING, *settings, count=count, patch=patch))


def absolute(rate: str) -> Source:
    """The short run with the paper's kind of learning rate."""
    return _point(short(f"gba*, absolute rate {rate}", "gba", "mixed=both", f"learning_rate={rate}"))


def _point(run: Run) -> Source:
    return Quantized((run,), float_run(EDSR))


USUAL = sweep("20 crops")
"""The point that all sweeps have."""

PICTURES = Absent("the calibration folder has 100 pictures")
CALIBRATION: dict[str, Source] = {
    "n_calib=20": USUAL,
    "n_calib=60": sweep("60 crops", count=60),
    "n_calib=100": measured(EDSR, "gba* relative", 4),
    **dict.fromkeys(("n_calib=150", "n_calib=300", "n_calib=500", "n_calib=800"), PICTURES),
}
RATES = {f"lr_ft={rate}": absolute(rate) for rate in ("0.001", "0.005", "0.01", "0.05")}
CANDIDATES: dict[str, Source] = {
    "theta={-1, 0, 1}": USUAL,
    "theta={-2, -1, 0, 1, 2}": sweep("candidates -2..2", "largest=2"),
    "theta={-3, -2, -1, 0, 1, 2, 3}": Absent("it needs layers of 1 bit, which srquant doesn't have"),
}
WEIGHTS = {
    f"lambda_feat={weight}": USUAL if weight == 10 else sweep(f"feature weight {weight}", f"feature_weight={weight}")
    for weight in (0, 5, 10, 15, 20, 25)
}
PATCHES = {
    f"patch={8 * side}": USUAL if side == 48 else sweep(f"crops of {side}x{side}", patch=side)
    for side in (30, 36, 42, 48, 54, 60)
}
BATCHES = {
    f"batch_ft={batch}": USUAL if batch == 2 else sweep(f"batch {batch}", f"batch={batch}") for batch in (2, 4, 8, 16)
}


def compared(number: str, shows: str, of: tuple[tuple[str, int], ...], bits: tuple[int, ...], minutes: int) -> Table:
    """One of tables 1 to 4."""
    lines = quality(models(*of), METHODS, bits)
    return Table(PAPER, number, shows, stand_in(*of), lines, minutes, (f"S{number}",))


def swept(number: int, shows: str, points: dict[str, Source], more: str = "") -> Table:
    """One of tables 6 to 11."""
    lines = tuple(Line(Printed("EDSR", 4, f"{PAPER}[{name}]", 4, 4), ours) for name, ours in points.items())
    counterpart = f"{SHORT} {more}".strip()
    return Table(PAPER, str(number), f"GBA*, EDSR x4, W4A4: {shows}", counterpart, lines, len(lines), (f"S{number}",))


def classification(method: str, bits: int, top1: float, row: str) -> Line:
    """One row of table 5."""
    ours = Tabulated(
        "classification",
        (("method", row), ("bits", f"W{bits}A{bits}")),
        "top-1, %",
        "top1",
        "drop",
        ("classification.py",),
    )
    printed = Count(f"ResNet-18 {method} W{bits}A{bits}", {"top-1, %": top1}, {"top-1, %": FLOAT_TOP1 - top1})
    return Line(printed, ours)


TOP1 = {
    "AdaRound": ("AdaRound", (67.26, 70.17, 70.78)),
    "BRECQ": ("BRECQ", (68.21, 70.44, 70.80)),
    "QDrop": ("QDrop", (69.54, 70.52, 70.83)),
    "PTMQ": ("PTMQ", (67.57, 70.23, 70.79)),
    "GBA": ("GBA, static ranges, weights per tensor", (68.33, 70.30, 70.83)),
}
"""Method -> its row in ``classification.json``, and top-1 at 4, 6 and 8 bits."""

FLOAT_TOP1 = 71.00

IMAGES = tuple(
    classification(method, bits, top1, row)
    for method, (row, printed) in TOP1.items()
    for bits, top1 in zip((4, 6, 8), printed, strict=True)
)

MAIN_TABLES = (
    Table(
        PAPER,
        "main-1",
        "methods on EDSR and RDN x4, as far as notes on the main text have it",
        stand_in(*NETWORKS),
        (
            *quality(models(("EDSR", 4)), MAIN, (4, 3), float_rows=False),
            *quality(models(("RDN", 4)), {name: METHODS[name] for name in ("AdaBM", "GBA*")}, (4,), float_rows=False),
        ),
        150,
        ("M1(notes)",),
    ),
    Table(
        PAPER,
        "main-2",
        "methods on SwinIR-light x4, as far as notes on the main text have it",
        stand_in(("SwinIR-light", 4)),
        quality(
            models(("SwinIR-light", 4)),
            {
                "2DQuant": ("2dquant",),
                "AdaBM": ("adabm",),
                "GBA*": ("gba* relative, matmuls too, weights per channel, corrected",),
            },
            (4,),
            float_rows=False,
        ),
        60,
        ("M2(notes)",),
    ),
    Table(
        PAPER,
        "main-4",
        "parts of GBA, as far as notes on the main text have it",
        "edsr_r8f64_x2 stands for EDSR x4; with the published learning rates and with relative ones",
        tuple(
            line
            for method, labels in ABLATION.items()
            for line in beside(Printed("EDSR", 4, method, 4, 4), AT_HAND["EDSR", 2], labels)
        ),
        35,
        ("M4(notes)",),
    ),
)

TABLES = (
    compared("1", "methods x2", NETWORKS_X2, (4, 3), 400),
    compared("2", "methods x4 at 6 bits", NETWORKS, (6,), 300),
    compared("3", "methods on CARN x4", (CARN,), (4, 3), 60),
    compared("4", "methods on SRResNet x4", (SRRESNET,), (4, 3), 250),
    Table(
        PAPER,
        "5",
        "classification by ResNet-18 on ImageNet",
        "Digits, not ImageNet, and a small ResNet-18: only shows that the methods work",
        IMAGES,
        20,
        gpu="ImageNet, which isn't at hand",
    ),
    swept(6, "number of calibration pictures", CALIBRATION, "With 100 crops: the full row of `ptq.py`, three seeds."),
    swept(
        7,
        "learning rate of finetuning",
        RATES,
        "Rates are absolute, as in the paper; with relative ones the same crops give the first row of table 8.",
    ),
    swept(8, "candidates of the bit offset", CANDIDATES),
    swept(9, "weight of the feature loss", WEIGHTS),
    swept(
        10,
        "side of the calibration crops",
        PATCHES,
        "Crops have an eighth of the printed side, which is that after upscaling; the paper's have a quarter.",
    ),
    swept(11, "crops per step of finetuning", BATCHES),
    *MAIN_TABLES,
)
