"""AdaBM's tables 1 to 5."""

from functools import partial

from ptq_networks import EDSR
from reproduce_counts import BIT_OPS, SIZE, adabm, adabm_float
from reproduce_lines import AT_HAND, beside, measured, models, on_large_pictures, quality, seconds, stand_in
from reproduce_sources import Absent, Counted, Source, Tabulated, Trained
from reproduce_table import Count, Line, Printed, Table

PAPER = "AdaBM"
NETWORKS = (("EDSR", 4), ("RDN", 4))
METHODS = {
    "MinMax": ("minmax",),
    "Percentile": ("percentile",),
    "MinMax+FT": ("minmax+FT",),
    "Percentile+FT": ("percentile+FT",),
    "PTQ4SR": ("ptq4sr",),
    "AdaBM": ("adabm", "adabm relative"),
}
PARTS = {
    "AdaBM[none]": ("adabm none",),
    "AdaBM[I2B+L2B+BaC,noFT]": ("adabm without FT",),
    "AdaBM[FT]": ("adabm FT", "adabm FT, relative"),
    "AdaBM[I2B+FT]": ("adabm I2B+FT", "adabm I2B+FT, relative"),
    "AdaBM[L2B+FT]": ("adabm L2B+FT", "adabm L2B+FT, relative"),
    "AdaBM[BaC+FT]": ("adabm BaC+FT", "adabm BaC+FT, relative"),
    "AdaBM[all]": ("adabm", "adabm relative"),
}
HOURS = Absent("takes hours of a GPU: `srquant train --method cadyq` or `cabm`")
ON_A_PROCESSOR = "edsr_r8f64_x2 stands for EDSR x4; seconds of one processor core, the paper's are of a GPU (2080Ti)"


def by_patch(name: str, weights: int, activations: int) -> Line:
    """A row of table 2 beside one of ``qat_patches.json``."""
    ours = Tabulated("qat_patches", (("name", name.lower()),), "Urban100", "psnr_y")
    return Line(Printed("EDSR", 4, name, weights, activations), ours)


def sizes(label: str, size: float, bit_ops: float, weights: int, activations: int, *, fully: bool) -> Line:
    """A row of table 5; bits of activations as the policy gives them, before any picture or layer changes them."""
    count = Counted(f"EDSR x4, W{weights}A{activations}", partial(adabm, weights, activations, fully=fully))
    return Line(Count(label, {SIZE: size, BIT_OPS: bit_ops}), count)


ADAPTIVE = tuple(
    line
    for model, network in (("EDSR", "edsr_r16f64_x4"), ("SRResNet", "srresnet_r16f64_x4"))
    for line in (
        on_large_pictures(Printed(model, 4, "FP", 32, 32), network, "float"),
        on_large_pictures(Printed(model, 4, "AdaBM", 4, 4), network, "adabm"),
        on_large_pictures(Printed(model, 4, "AdaBM", 4, 4), network, "adabm relative"),
        Line(Printed(model, 4, "CADyQ", 4, 4), HOURS),
        Line(Printed(model, 4, "CABM", 4, 4), HOURS),
    )
)
SRRESNET = tuple(Line(Printed("SRResNet", 4, name, 8, 6), HOURS) for name in ("CADyQ", "CABM", "AdaBM"))

TIMES: tuple[tuple[str, float, Source], ...] = (
    ("EDSR in float", 108_000, Absent("takes hours of a GPU: `srquant train --method float`")),
    ("PAMS", 7_200, Trained("pams", 4, column="seconds")),
    ("DDTB", 14_400, Trained("ddtb", 4, column="seconds")),
    ("PTQ4SR", 124, measured(EDSR, "ptq4sr", 4, "seconds")),
    ("CADyQ", 144_000, HOURS),
    ("CABM", 252_000, HOURS),
    ("AdaBM", 71, measured(EDSR, "adabm", 4, "seconds")),
)

TABLES = (
    Table(
        PAPER,
        "1",
        "seconds of processing, EDSR x4",
        f"{ON_A_PROCESSOR}; PAMS and DDTB train for 400 steps of 4 crops, in the paper for 15,000 and 30,000 of 16",
        tuple(seconds(*row) for row in TIMES),
        15,
        gpu="CADyQ, CABM, float training",
    ),
    Table(
        PAPER,
        "2",
        "networks whose bits depend on the picture, in patches of 96x96",
        "W8A6: qat_patches.json, edsr_r8f64_x2 and the first 30 of Urban100, 240 steps of training for CADyQ and CABM "
        "(its float network is in table 3 of outlier-aware). W4A4: CLIC2025_2K, five pictures, stands for Test2K, "
        "upscaled as a whole, head and tail 8 bit instead of float; `large_sets.py` makes Test2K and Test4K from DIV8K",
        (*(by_patch(name, 8, 6) for name in ("CADyQ", "CABM", "AdaBM")), *ADAPTIVE, *SRRESNET),
        60,
        ("2",),
        gpu="CADyQ and CABM",
    ),
    Table(PAPER, "3", "methods x4", stand_in(*NETWORKS), quality(models(*NETWORKS), METHODS, (6, 4)), 400, ("3",)),
    Table(
        PAPER,
        "4",
        "parts of AdaBM, EDSR x4, W4A4",
        "edsr_r8f64_x2 stands for EDSR x4, 100 crops of 48x48; with the published learning rates (three seeds) and "
        "with relative ones (one seed, feature weight 0.2; all parts: three seeds, layer rate 0.015)",
        tuple(
            line
            for method, labels in PARTS.items()
            for line in beside(Printed("EDSR", 4, method, 4, 4), AT_HAND["EDSR", 2], labels)
        ),
        40,
        ("4",),
    ),
    Table(
        PAPER,
        "5",
        "model size, bit operations and seconds, EDSR x4",
        "Counted: the paper's network; bit operations for 49,500 low-resolution pixels, about the mean of Urban100 x4. "
        f"Bits of CADyQ, CABM and AdaBM depend on the picture, ours are those of the policy. Seconds: {ON_A_PROCESSOR}",
        (
            Line(Count("EDSR in float", {SIZE: 1517.6, BIT_OPS: 527.0}), Counted("EDSR x4", adabm_float)),
            sizes("CABM, AdaBM: body only", 485.5, 82.4, 4, 4, fully=False),
            sizes("MinMax+FT, Percentile+FT, PTQ4SR", 305.5, 9.2, 6, 6, fully=True),
            seconds("MinMax+FT", 75, measured(EDSR, "minmax+FT", 6, "seconds")),
            seconds("Percentile+FT", 101, measured(EDSR, "percentile+FT", 6, "seconds")),
            seconds("PTQ4SR", 124, measured(EDSR, "ptq4sr", 6, "seconds")),
            seconds("AdaBM", 76, measured(EDSR, "adabm", 6, "seconds")),
        ),
        15,
    ),
)
