"""The outlier-aware paper's tables 1 to 5."""

from functools import partial

from ptq_networks import EDSR
from reproduce_counts import SIZE, adabm
from reproduce_lines import AT_HAND, beside, measured, models, on_large_pictures, quality, seconds, stand_in
from reproduce_sources import Absent, Counted, Trained
from reproduce_table import Count, Line, Printed, Table

PAPER = "outlier-aware"
NETWORKS = (("EDSR", 4), ("RDN", 4))
OURS = ("outlier-aware", "outlier-aware relative")
METHODS = {
    "MSE": ("mse",),
    "MinMax": ("minmax",),
    "Percentile": ("percentile",),
    "PTQ4SR": ("ptq4sr",),
    "AdaBM": ("adabm", "adabm relative"),
    "OutlierAware": OURS,
}
PARTS = {
    "MinMax": ("minmax",),
    "PLQ": ("outlier-aware PLQ",),
    "MinMax+VFT": ("outlier-aware VFT alone",),
    "MinMax+SAFT": ("outlier-aware SAFT alone",),
    "PLQ+SAFT": OURS,
}
LARGE = {"PTQ4SR": ("ptq4sr",), "AdaBM": ("adabm",), "OutlierAware": OURS}
LATENCY = Absent("fake quantization isn't timed here; docs/results/engines.md has the integer network")


def trained(method: str) -> Line:
    """A row of table 3 beside one of ``qat.py``."""
    return Line(Printed("EDSR", 4, method, 4, 4), Trained(method.lower(), 4))


LARGE_PICTURES = tuple(
    on_large_pictures(Printed(model, 4, method, *bits), network, label)
    for model, network in (("EDSR", "edsr_r16f64_x4"), ("SRResNet", "srresnet_r16f64_x4"))
    for method, bits, labels in (
        ("FP", (32, 32), ("float",)),
        *((method, (4, 4), labels) for method, labels in LARGE.items()),
        *((method, (8, 6), labels[:1]) for method, labels in LARGE.items()),
    )
    for label in labels
)

STORAGE = tuple(
    Line(Count(name, {SIZE: 229.517}), Counted("EDSR x4, W4A4", partial(adabm, 4, 4, fully=True)))
    for name in ("PTQ4SR", "AdaBM", "ours")
)

TABLES = (
    Table(
        PAPER,
        "1",
        "methods x4",
        stand_in(*NETWORKS),
        quality(models(*NETWORKS), METHODS, (6, 4)),
        400,
        ("1", "1(page)"),
    ),
    Table(
        PAPER,
        "2",
        "large pictures",
        "CLIC2025_2K, five pictures, stands for Test2K, upscaled as a whole; head and tail have 8 bits, in the paper "
        "they are float; `large_sets.py` makes Test2K and Test4K from DIV8K",
        LARGE_PICTURES,
        120,
        ("2",),
    ),
    Table(
        PAPER,
        "3",
        "beside methods that train weights, EDSR x4, W4A4",
        "edsr_r8f64_x2 stands for EDSR x4; 400 steps of training; head and tail are float for the trained rows, and "
        "have 8 bits for outlier-aware (in the paper they are float)",
        (
            *beside(Printed("EDSR", 4, "FP", 32, 32), AT_HAND["EDSR", 2], ("float",)),
            *map(trained, ("PAMS", "DAQ", "DDTB", "ODM")),
            *beside(Printed("EDSR", 4, "OutlierAware", 4, 4), AT_HAND["EDSR", 2], OURS),
        ),
        90,
        ("3",),
        gpu="training as long as published",
    ),
    Table(
        PAPER,
        "4",
        "parts of the method, EDSR x4, W4A4",
        "edsr_r8f64_x2 stands for EDSR x4, 100 crops of 48x48; three seeds, one for the rows without PLQ",
        tuple(
            line
            for method, labels in PARTS.items()
            for line in beside(Printed("EDSR", 4, method, 4, 4), AT_HAND["EDSR", 2], labels)
        ),
        25,
        ("4",),
    ),
    Table(
        PAPER,
        "5",
        "seconds of processing, latency and storage, EDSR x4, W4A4",
        "Storage is counted on the paper's network, as AdaBM counts; seconds: edsr_r8f64_x2, of one processor core, "
        "the paper's are of a GPU (2080Ti)",
        (
            *STORAGE,
            seconds("PTQ4SR", 126, measured(EDSR, "ptq4sr", 4, "seconds")),
            seconds("AdaBM", 72, measured(EDSR, "adabm", 4, "seconds")),
            seconds("ours", 73, measured(EDSR, "outlier-aware", 4, "seconds")),
            *(
                Line(Count(name, {"latency, ms": printed}), LATENCY)
                for name, printed in (("PTQ4SR", 133), ("AdaBM", 143), ("ours", 135))
            ),
        ),
        10,
    ),
)
