"""The published systems of the page "claimed, counted, run": their rows here, and what is known of their code.

A new method gets an entry in ``SYSTEMS``, and one in ``CASES`` of ``claims_count.py`` that counts its codes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """A published system that this project implements.

    Attributes:
        name: in the page.
        published: its names in the papers' tables, ``paper_numbers.csv``; empty for ours and for baselines of ours.
        rows: labels of its rows in ``ptq.json``.
        trained: labels of its runs in ``qat.json``.
        counted: label in ``claimed_counted_run.json``, the same for systems with the same grids; None: not counted.
        by_patch: its name in ``qat_patches.json``.
        evidence: what is known about its codes, ranges and published numbers; Markdown sentences.
    """

    name: str
    published: tuple[str, ...]
    rows: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    counted: str | None = None
    by_patch: str | None = None
    evidence: str = ""


SYSTEMS = (
    System("MinMax", ("MinMax",), ("minmax",), counted="minmax"),
    System("MinMax+FT", ("MinMax+FT",), ("minmax+FT as published", "minmax+FT"), counted="minmax"),
    System("Percentile", ("Percentile",), ("percentile",), counted="percentile"),
    System("Percentile+FT", ("Percentile+FT",), ("percentile+FT",), counted="percentile"),
    System("MSE", ("MSE",), ("mse",), counted="mse"),
    System(
        "MSE with GPTQ or GPTAQ",
        (),
        ("mse, compensated", "mse, corrected"),
        counted="mse",
        evidence="GPTQ and GPTAQ were published for language models; no paper on super-resolution has such rows.",
    ),
    System(
        "distill",
        (),
        ("distill", "distill, grids per channel", "distill long"),
        counted="distill",
        evidence="Ours, from no paper: weights, biases and bounds learn, without true pictures.",
    ),
    System(
        "PTQ4SR",
        ("PTQ4SR", "DBDC+Pac"),
        ("ptq4sr",),
        counted="ptq4sr",
        evidence="The released model lacks its calibration functions and doesn't run as published. Later papers that "
        "have rows of it don't say whether weights have one grid per tensor or per channel.",
    ),
    System(
        "AdaBM",
        ("AdaBM", "AdaBM[all]"),
        ("adabm", "adabm relative"),
        counted="adabm",
        evidence="The claimed bits are a mean over layers and pictures: single layers have up to two bits more or "
        "less. The released code keeps the iterate that is best on Set5, a set of the test.",
    ),
    System(
        "AdaBM*", ("AdaBM*",), evidence="How it chooses the bits of weights is not published; not implemented here."
    ),
    System(
        "2DQuant",
        ("2DQuant",),
        ("2dquant",),
        counted="2dquant",
        evidence="Paper and code keep the iterate that is best on Set5, a set of the test. In the code the search in "
        "one direction is switched off, and its feature loss is scaled so that it vanishes.",
    ),
    System("2DQuant's search", ("DOBI", "2DQuant[DOBI]"), ("2dquant DOBI",), counted="2dquant"),
    System("2DQuant's search with GPTAQ", (), ("2dquant DOBI, corrected",), counted="2dquant"),
    System(
        "outlier-aware",
        ("OutlierAware", "PLQ+SAFT"),
        ("outlier-aware", "outlier-aware relative"),
        counted="outlier-aware",
        evidence="The paper's piecewise grid has `2^b` points, of which neighbouring regions share some. The released "
        "code spends `2^(b+1)`: its W4A4 has 5-bit activation codes (*outlier-aware as its code*). Which of the two "
        "made the published numbers is not known.",
    ),
    System(
        "outlier-aware as its code",
        ("OutlierAware",),
        ("outlier-aware, levels of the code",),
        counted="outlier-aware, levels of the code",
    ),
    System(
        "GBA",
        ("GBA",),
        ("gba", "gba relative"),
        counted="gba",
        evidence="No official code is known. The claimed bits are a mean over layers. DAN takes the range of every "
        "channel from the picture itself, so these layers can't be one integer convolution: they compute in float.",
    ),
    System(
        "GBA*", ("GBA*",), ("gba*", "gba* relative"), counted="gba*", evidence="The same, with mixed bits of weights."
    ),
    System("GBA with GPTQ", (), ("gba relative, compensated",), counted="gba"),
    System("GBA without DAN", (), ("gba without DAN, relative",), counted="gba without DAN"),
    System(
        "DoReFa",
        (),
        trained=("dorefa",),
        counted="dorefa",
        evidence="A baseline in several papers' tables, for SR without published code; the form of the grid is ours.",
    ),
    System(
        "PAMS",
        ("PAMS",),
        trained=("pams",),
        counted="pams",
        evidence="Its grid is narrow: `2^b - 1` points around zero. After a ReLU nearly half of them are never used.",
    ),
    System(
        "DAQ",
        ("DAQ",),
        trained=("daq",),
        counted="daq",
        evidence="Ranges are statistics of each channel of each picture. In the released code the lines that clip "
        "after a ReLU are commented out, so that more than `2^b` codes occur there.",
    ),
    System(
        "DDTB",
        ("DDTB",),
        trained=("ddtb",),
        counted="ddtb",
        evidence="Gates multiply the bounds of three tenths of the activations by factors that depend on the picture. "
        "The gates are closed in the first twelfth of a run, and were closed where codes were counted.",
    ),
    System("ODM", ("ODM",), trained=("odm",), counted="odm", evidence="Its code is not published."),
    System(
        "QuantSR",
        ("QuantSR-C-16blk", "QuantSR-C-8blk", "QuantSR-C-32blk", "QuantSR-T-4blk", "QuantSR-T-2blk", "QuantSR-T-1blk"),
        trained=("quantsr", "quantsr, fast"),
        counted="quantsr",
        evidence="The released code keeps 17 and 9 of 32 blocks where the paper says 16 and 8. The code of QuantSR-T "
        "is not published.",
    ),
    System(
        "CADyQ",
        ("CADyQ",),
        counted="cadyq",
        by_patch="cadyq",
        evidence="Weights have 8 bits; each layer chooses 4, 6 or 8 activation bits for each patch, on narrow grids.",
    ),
    System(
        "CABM",
        ("CABM",),
        counted="cadyq",
        by_patch="cabm",
        evidence="The grids are CADyQ's, the bits of all layers come from one table. The loop of the released code "
        "that looks for an entry of the table may not end.",
    ),
)


@dataclass(frozen=True)
class Rival:
    """A published system that this project doesn't implement.

    Attributes:
        name: in ``rival_numbers.csv``.
        codes: what it spends, as far as is known.
        ranges: which it needs, as far as is known.
        evidence: where the numbers come from, and what is known of the code; Markdown sentences.
    """

    name: str
    codes: str = "not checked"
    ranges: str = "not checked"
    evidence: str = ""


RIVALS = (
    Rival(
        "CompSRT",
        "more than 2^b possible",
        evidence="The released code was read, not run. A trainable offset is added to the step of each grid, and the "
        "integers are never limited to `0..2^b - 1`. So a grid has as many codes as the values need, and the bits of "
        "these rows are not verified; that its PSNR at x2 hardly falls from 4 to 2 bits fits this. Rotated dimensions "
        "are padded from 60 to 64. The numbers are those of the significance test in its repository.",
    ),
    Rival(
        "CompSRT+DBAF",
        "more than 2^b possible",
        evidence="Built on CompSRT. Only the bits of weights are named; a preprint, numbers from a list of preprints.",
    ),
    Rival(
        "CondiQuant",
        evidence="Its code is not released (a README only). The numbers are those that CompSRT's repository prints.",
    ),
    Rival("QuantSR+", evidence="Weights are trained. The numbers are those of its README."),
    Rival("SPR2Q", evidence="Numbers from notes on the paper, not from the paper."),
    Rival("PTQ4VM", evidence="As SPR2Q quotes it."),
    Rival("Quamba", evidence="As SPR2Q quotes it."),
    Rival("MambaQuant", evidence="As SPR2Q quotes it."),
    Rival(
        "Granular-DQ",
        ranges="bits by patch",
        evidence="8-bit weights; activation bits are chosen for each patch. Numbers from notes on the paper.",
    ),
    Rival("RTN", evidence="Rounding to nearest, as the list of preprints quotes it."),
    Rival("default W8A8", evidence="CoreAI's own network and documentation; PSNR of RGB on 80 pictures of B100."),
    Rival(
        "4-bit palette + A8",
        "16 weights of any value",
        evidence="The same. A palette is a table of values and not a uniform grid.",
    ),
    Rival("QBasicVSR", ranges="bits by layer", evidence="Video; PSNR of RGB on REDS4."),
)
"""Those of ``rival_numbers.csv`` without float networks, parts of systems, and systems that are in ``SYSTEMS``."""

PARTS = ("FP", "bounds only", "bounds + low-rank weights", "calibration only", "calibration + FT")
"""Rows of ``rival_numbers.csv`` that are no systems: float networks, and parts of a system."""
