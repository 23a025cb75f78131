"""What the benchmark measures: rows, and the runs that follow from rows and networks. Data only."""

from collections.abc import Iterator
from dataclasses import dataclass

from ptq_networks import ALL_BITS, DAT, EDSR, FIRST, FOUR, IMDTN, NETWORKS, RNET, Net
from ptq_run import FLOAT, Run

from srquant.insertion.policy import Granularity, LayerKind
from srquant.methods.registry import METHODS

CALIBRATION = "data/DIV2K_test_LR/LR_bicubic/X4"
CNN: tuple[LayerKind, ...] = ("conv", "linear")
FLOAT_BITS = 32
MAIN = (4, 2)
"""Bits at which the main rows are measured on every network: each method as published and with relative rates, and
ours."""


@dataclass(frozen=True)
class Row:
    """A way to quantize.

    Attributes:
        label: in tables.
        method: in ``METHODS``.
        settings: as ``srquant quantize --set`` takes them.
        bits: numbers of bits at which it is measured.
        paper: its names in the papers' tables.
        attention: on which networks: ``False`` without attention, ``True`` with it, None on both.
        only: the one network that it is measured on.
        everywhere: bits at which it is measured on every network, whatever ``Net.bits`` are; networks with attention
            leave 2 bits out.
        plotted: whether it has a line in the picture.
        repeated: whether it is measured with every seed of the network, or with the first one only.
        repeated_bits: bits at which it is measured with every seed.
        count: calibration pictures.
        patch: side of their crops.
        large_patch: side of the crops' part of the high-resolution picture, instead of ``patch``: papers give this one.
        granularity: of weight grids.
        activation_granularity: of activation grids.
        layers: kinds that are quantized; None: convolutions and linear layers; on networks with attention, the kinds
            that the method is made for.
    """

    label: str
    method: str
    settings: tuple[str, ...] = ()
    bits: tuple[int, ...] = FOUR
    paper: tuple[str, ...] = ()
    attention: bool | None = None
    only: str | None = None
    everywhere: tuple[int, ...] = ()
    plotted: bool = False
    repeated: bool = True
    repeated_bits: tuple[int, ...] = FOUR
    count: int = 100
    patch: int = 48
    large_patch: int | None = None
    granularity: Granularity = "tensor"
    activation_granularity: Granularity = "tensor"
    layers: tuple[LayerKind, ...] | None = None


LEARNED = ("rates=relative", "learning_rate=0.003")
"""Learning rates times each range, for networks in [0, 255]; the published ones are absolute."""

FASTER = ("rates=relative", "learning_rate=0.004", "decay=0.6")
"""Ten passes that start fast and end slowly."""

SHORT = ("iterations=500", "batch=4")
"""DQC on a processor; published: 3000 steps of 32 crops."""

SHORTER = ("iterations=300", "batch=2")
"""As many crops as other methods' finetuning sees; more of them lower the loss and not the squared error."""

COMPENSATED = ("rounding=compensated",)
"""GPTQ, by the name that finished runs know it by."""

CORRECTED = ("rounding=corrected",)
"""GPTAQ, likewise."""

LOW = (4, 3, 2)
"""Few bits, at which distill is measured with every seed."""

LONG_PER_CHANNEL = (
    (RNET, FOUR),
    ("carn_x2", FOUR),
    ("rlfn_x4", (2,)),
    ("edsr_r16f64_x4", FOUR),
    ("srresnet_r16f64_x4", (4, 2)),
)
"""Networks and bits at which distill of normal length loses more than half of what the best published method loses."""

ADABM_RATES = ("rates=relative", "activation_rate=0.003", "weight_rate=0.003")
BALANCED = (*ADABM_RATES, "feature_weight=0.2")
"""AdaBM's bounds at the rate above, features weighing about as much as the picture."""

THRIFTY = (*ADABM_RATES, "layer_rate=0.015", "feature_weight=0.2")
"""Layers learn fast enough to give bits back: mean bits stay below the base."""

MIXED = ("mixed=both",)
"""AdaBM* and GBA*: the bits of weights differ from layer to layer as well."""

PRINTED = ("order=paper", "decay_schedule=paper", "bound_gradient=paper", "image_gradient=paper")
"""AdaBM's finetuning by the paper's text where the released code differs."""

ADABM_PARTS = {"image_to_bit": "I2B", "layer_to_bit": "L2B", "bac": "BaC", "finetune": "FT"}


def only_parts(*names: str) -> tuple[str, ...]:
    """Settings of AdaBM with only these parts, as in its Table 4."""
    return tuple(f"{part}=false" for part, name in ADABM_PARTS.items() if name not in names)


ADABM_TABLE = {
    "FT": only_parts("FT"),
    **{f"{name}+FT": only_parts(name, "FT") for name in ("I2B", "L2B", "BaC")},
}
"""Finetuning alone and with one other part."""

PUBLISHED_CROPS = (
    ("minmax+FT as published", "minmax", ("finetune=published",), "MinMax+FT"),
    ("percentile+FT as published", "percentile", ("finetune=published",), "Percentile+FT"),
    ("ptq4sr", "ptq4sr", (), "PTQ4SR"),
    ("adabm", "adabm", (), "AdaBM"),
    ("adabm*", "adabm", MIXED, "AdaBM*"),
    ("outlier-aware", "outlier-aware", (), "OutlierAware"),
    ("gba", "gba", (), "GBA"),
    ("gba*", "gba", MIXED, "GBA*"),
)
"""Label, method, settings and the paper's name of the rows that are measured with crops as large as the papers' too."""

LARGE_PATCH = 384
"""Crops of AdaBM, outlier-aware and GBA in the high-resolution picture; before upscaling 96x96 at x4, 192x192 at x2."""

PATCH_2DQUANT = 64
"""2DQuant's crops, before upscaling, at every scale."""

CROPS = ("epochs=30", "batch=4")
"""As many steps and crops as the normal length of distill: 750 steps of 4 crops of 100 pictures."""

AS_LONG = (
    ("gba relative", "gba", (*LEARNED, *CROPS), (4, 3)),
    ("adabm relative", "adabm", (*THRIFTY, *CROPS), FOUR),
    ("adabm relative", "adabm", (*THRIFTY, *CROPS, "clamp_bits=true"), (3, 2)),
    (
        "outlier-aware relative",
        "outlier-aware",
        ("rates=relative", "learning_rate=0.004", "weights=omse", *CROPS),
        (4, 3),
    ),
    ("2dquant", "2dquant", ("iterations=750", "batch=4", *LEARNED), LOW),
    ("ptq4sr", "ptq4sr", ("iterations=750", "batch=4"), LOW),
)
"""Label, method, settings and bits of the methods that learn for as long as distill."""

ROWS = (
    Row("float", FLOAT, everywhere=MAIN),
    Row("minmax", "minmax", bits=ALL_BITS, paper=("MinMax",), plotted=True),
    Row("minmax, weights by error", "minmax", ("weights=omse",), paper=("MinMax",), only=EDSR, repeated=False),
    Row("minmax, weights by error, batches of 4", "minmax", ("weights=omse", "batch=4"), paper=("MinMax",), only=EDSR),
    Row("minmax+FT", "minmax", ("finetune=together",), ALL_BITS, ("MinMax+FT",), attention=False, plotted=True),
    Row("minmax+FT, squares", "minmax", ("finetune=squares",), only=EDSR, repeated=False),
    Row("mse+FT, squares", "mse", ("finetune=squares",), only=EDSR, repeated=False),
    Row("minmax+FT as published", "minmax", ("finetune=published",), paper=("MinMax+FT",), only=EDSR, repeated=False),
    Row("percentile", "percentile", bits=ALL_BITS, paper=("Percentile",), plotted=True),
    Row(
        "percentile+FT",
        "percentile",
        ("finetune=together",),
        ALL_BITS,
        ("Percentile+FT",),
        attention=False,
        plotted=True,
    ),
    Row("mse", "mse", bits=ALL_BITS, paper=("MSE",), plotted=True),
    Row("mse, compensated", "mse", COMPENSATED, ALL_BITS, plotted=True, everywhere=MAIN),
    Row("mse, corrected", "mse", CORRECTED, (4, 3, 2), plotted=True, repeated=False, everywhere=MAIN),
    Row("mse+FT", "mse", ("finetune=together",), ALL_BITS, attention=False, plotted=True),
    Row("tails", "tails", bits=ALL_BITS, attention=False),
    Row("distill", "distill", bits=(8, *LOW), repeated_bits=LOW, plotted=True, everywhere=(8, *MAIN)),
    Row(
        "distill, grids per channel",
        "distill",
        bits=(8, *LOW),
        repeated_bits=LOW,
        granularity="channel",
        activation_granularity="channel",
        plotted=True,
        everywhere=(8, *MAIN),
    ),
    Row(
        "distill, 2000 steps, grids per channel",
        "distill",
        ("steps=2000",),
        only=IMDTN,
        granularity="channel",
        activation_granularity="channel",
    ),
    Row(
        "distill, 1500 steps, crops of 32x32, grids per channel",
        "distill",
        ("steps=1500",),
        only=DAT,
        everywhere=FOUR,
        patch=32,
        granularity="channel",
        activation_granularity="channel",
    ),
    Row("distill quick", "distill", ("effort=quick",), LOW, only=EDSR),
    Row("distill long", "distill", ("effort=long",), LOW, only=EDSR, repeated_bits=LOW),
    Row("distill long, crops of 64x64", "distill", ("effort=long",), only=EDSR, patch=64),
    *(
        Row(
            "distill long, grids per channel",
            "distill",
            ("effort=long",),
            bits,
            only=network,
            everywhere=bits,
            granularity="channel",
            activation_granularity="channel",
        )
        for network, bits in LONG_PER_CHANNEL
    ),
    Row("ptq4sr", "ptq4sr", bits=ALL_BITS, paper=("PTQ4SR", "DBDC+Pac"), plotted=True, everywhere=MAIN),
    Row("ptq4sr per channel", "ptq4sr", ("weights=per_channel",), only=EDSR, repeated=False),
    Row("adabm", "adabm", bits=(6, 4), paper=("AdaBM",), attention=False, everywhere=MAIN),
    Row("adabm", "adabm", ("clamp_bits=true",), (8, 3, 2), ("AdaBM",), attention=False, everywhere=MAIN),
    Row(
        "adabm as its code",
        "adabm",
        ("omse=code", "bac_range=code"),
        paper=("AdaBM",),
        attention=False,
        only=EDSR,
        repeated=False,
    ),
    Row("adabm as printed", "adabm", PRINTED, paper=("AdaBM",), attention=False, only=EDSR, repeated=False),
    Row("adabm*", "adabm", MIXED, (6, 4), ("AdaBM*",), attention=False, only=EDSR),
    Row("adabm*", "adabm", (*MIXED, "clamp_bits=true"), (3, 2), ("AdaBM*",), attention=False, only=EDSR),
    Row("adabm* relative", "adabm", (*MIXED, *THRIFTY), (6, 4), ("AdaBM*",), attention=False, only=EDSR),
    Row(
        "adabm* relative",
        "adabm",
        (*MIXED, *THRIFTY, "clamp_bits=true"),
        (3, 2),
        ("AdaBM*",),
        attention=False,
        only=EDSR,
    ),
    Row("adabm relative", "adabm", THRIFTY, (6, 4), ("AdaBM",), attention=False, plotted=True, everywhere=MAIN),
    Row(
        "adabm relative",
        "adabm",
        (*THRIFTY, "clamp_bits=true"),
        (8, 3, 2),
        ("AdaBM",),
        attention=False,
        plotted=True,
        everywhere=MAIN,
    ),
    Row("adabm relative, more bits", "adabm", BALANCED, only=EDSR),
    Row("2dquant", "2dquant", SHORT, FOUR, ("2DQuant",), attention=True, everywhere=MAIN),
    Row("2dquant DOBI", "2dquant", ("dqc=false",), ALL_BITS, ("DOBI", "2DQuant[DOBI]")),
    Row("2dquant DOBI, compensated", "2dquant", ("dqc=false", *COMPENSATED), ALL_BITS, plotted=True, everywhere=MAIN),
    Row("2dquant DOBI, corrected", "2dquant", ("dqc=false", *CORRECTED), (4, 3, 2), repeated=False),
    Row("2dquant DQC", "2dquant", ("dobi=none", *SHORT), paper=("2DQuant[DQC]",), attention=True, only=IMDTN),
    Row(
        "2dquant",
        "2dquant",
        (*SHORTER, *LEARNED),
        ALL_BITS,
        ("2DQuant",),
        attention=False,
        plotted=True,
        everywhere=MAIN,
    ),
    Row("2dquant, compensated", "2dquant", (*SHORTER, *LEARNED, *COMPENSATED), (4, 3), only=EDSR, repeated=False),
    Row("2dquant DQC", "2dquant", ("dobi=none", *SHORTER, *LEARNED), attention=False, only=EDSR),
    Row("2dquant absolute rates", "2dquant", SHORTER, attention=False, only=EDSR, repeated=False),
    Row(
        "outlier-aware PLQ", "outlier-aware", ("finetune=none",), (8, 6, 4, 3), ("PLQ",), attention=False, plotted=True
    ),
    Row(
        "outlier-aware",
        "outlier-aware",
        (),
        (8, 6, 4, 3),
        ("OutlierAware", "PLQ+SAFT"),
        attention=False,
        plotted=True,
        everywhere=MAIN,
    ),
    Row(
        "outlier-aware relative",
        "outlier-aware",
        (*FASTER, "weights=omse"),
        (6, 4, 3),
        ("OutlierAware", "PLQ+SAFT"),
        attention=False,
        plotted=True,
        everywhere=MAIN,
    ),
    *(
        Row(f"{label}, as long as distill", method, settings, bits, only=EDSR, repeated=False)
        for label, method, settings, bits in AS_LONG
    ),
    Row("outlier-aware SAFT alone", "outlier-aware", ("plq=false",), paper=("MinMax+SAFT",), only=EDSR, repeated=False),
    Row(
        "outlier-aware VFT alone",
        "outlier-aware",
        ("plq=false", "finetune=vft"),
        paper=("MinMax+VFT",),
        only=EDSR,
        repeated=False,
    ),
    Row("outlier-aware VFT", "outlier-aware", ("finetune=vft",), only=EDSR, repeated=False),
    Row("outlier-aware, scaled softmax", "outlier-aware", ("softmax=scaled",), only=EDSR, repeated=False),
    Row("outlier-aware, layers", "outlier-aware", ("features=layers",), only=EDSR, repeated=False),
    Row("outlier-aware, levels of the code", "outlier-aware", ("levels=code",), only=EDSR, repeated=False),
    Row("gba", "gba", (), (6, 4, 3), ("GBA", "GBA[aGBA+DAN]"), everywhere=MAIN),
    Row("gba, a tenth of the rate", "gba", ("learning_rate=0.001",), only=EDSR),
    Row("gba*", "gba", MIXED, (6, 4, 3), ("GBA*", "GBA[all]"), only=EDSR),
    Row("gba relative", "gba", LEARNED, (6, 4, 3), ("GBA", "GBA[aGBA+DAN]"), plotted=True, everywhere=MAIN),
    Row("gba relative, compensated", "gba", (*LEARNED, *COMPENSATED), only=EDSR, repeated=False),
    Row(
        "gba* relative, matmuls too, weights per channel, corrected",
        "gba",
        ("mixed=both", *LEARNED, *CORRECTED),
        only=IMDTN,
        granularity="channel",
        layers=("linear", "matmul"),
    ),
    Row("gba* relative", "gba", ("mixed=both", *LEARNED), (6, 4, 3), ("GBA*", "GBA[all]"), only=EDSR),
    Row(
        "gba without DAN, relative",
        "gba",
        ("dan_stages=none", *LEARNED),
        (6, 4, 3),
        ("GBA[aGBA]",),
        attention=False,
        plotted=True,
    ),
    Row("gba without DAN, uniform, relative", "gba", ("mixed=none", "dan_stages=none", *LEARNED), only=EDSR),
    Row("gba without DAN, mse ranges", "gba", ("dan_stages=none", "ranges=mse", *LEARNED), only=EDSR),
    Row(
        "gba without DAN, uniform, mse ranges",
        "gba",
        ("mixed=none", "dan_stages=none", "ranges=mse", *LEARNED),
        only=EDSR,
    ),
    Row("gba w, mse ranges", "gba", ("mixed=weights", "dan_stages=none", "ranges=mse", *LEARNED), only=EDSR),
    Row("gba DAN, relative", "gba", ("mixed=none", *LEARNED), FOUR, ("GBA[DAN]",), only=EDSR),
    Row("gba w, relative", "gba", ("mixed=weights", "dan_stages=none", *LEARNED), paper=("GBA[wGBA]",), only=EDSR),
    Row("gba none", "gba", ("mixed=none", "dan_stages=none"), paper=("GBA[none]",), only=EDSR, repeated=False),
    Row("gba w", "gba", ("mixed=weights", "dan_stages=none"), paper=("GBA[wGBA]",), only=EDSR, repeated=False),
    Row("gba without DAN", "gba", ("dan_stages=none",), FOUR, ("GBA[aGBA]",), only=EDSR, repeated=False),
    Row("gba DAN", "gba", ("mixed=none",), FOUR, ("GBA[DAN]",), only=EDSR, repeated=False),
    Row("adabm none", "adabm", only_parts(), paper=("AdaBM[none]",), only=EDSR),
    *(
        Row(
            f"adabm {parts}{suffix}",
            "adabm",
            (*settings, *rates),
            paper=(f"AdaBM[{parts}]",),
            only=EDSR,
            repeated=not rates,
        )
        for suffix, rates in (("", ()), (", relative", BALANCED))
        for parts, settings in ADABM_TABLE.items()
    ),
    *(
        Row(
            f"adabm without {name}",
            "adabm",
            (f"{part}=false", *THRIFTY),
            paper=("AdaBM[I2B+L2B+BaC,noFT]",) if name == "FT" else (),
            only=EDSR,
            repeated=name == "FT",
        )
        for part, name in ADABM_PARTS.items()
    ),
    *(
        Row(
            f"{label}, the paper's crops",
            method,
            settings,
            paper=(paper,),
            only=network,
            repeated=False,
            large_patch=LARGE_PATCH,
        )
        for network in (EDSR, RNET)
        for label, method, settings, paper in PUBLISHED_CROPS
    ),
    *(
        Row(
            "2dquant, the paper's crops",
            "2dquant",
            SHORT,
            paper=("2DQuant",),
            only=network,
            repeated=False,
            patch=PATCH_2DQUANT,
        )
        for network in (EDSR, RNET, IMDTN)
    ),
)


def runs() -> list[Run]:
    """All runs: network by network; four bits first, every row with one seed before the next seed."""
    everything = [
        (number, run)
        for number, network in enumerate(NETWORKS)
        for row in ROWS
        if row.attention in (None, network.attention) and row.only in (None, network.name)
        if row.paper or row.method == FLOAT or not network.published
        for run in _runs(network, row)
    ]
    first = (FLOAT_BITS, *FOUR)
    return [run for _, run in sorted(everything, key=lambda pair: (pair[0], pair[1].bits not in first, pair[1].seed))]


def _runs(network: Net, row: Row) -> Iterator[Run]:
    if row.method == FLOAT:
        yield run_of(network, row, FLOAT_BITS, 0, network.sets + network.four_bit_sets)
        return
    for bits in row.bits:
        everywhere = bits in row.everywhere and not (network.attention and bits == 2)
        if bits in network.bits or everywhere:
            sets = network.sets + (network.four_bit_sets if bits in FOUR else ())
            seeds = network.seeds if bits in row.repeated_bits and row.repeated else FIRST
            yield from (run_of(network, row, bits, seed, network.sets[:2] if seed else sets) for seed in seeds)


def run_of(network: Net, row: Row, bits: int, seed: int, sets: tuple[str, ...]) -> Run:
    """One run of a row, whether or not the row is measured on this network with these bits."""
    method = METHODS.get(row.method)
    layers = method.attention if network.attention and method else CNN
    return Run(
        network=network.name,
        label=row.label,
        bits=bits,
        seed=seed,
        method=row.method,
        settings=row.settings,
        layers=row.layers or layers,
        count=row.count,
        patch=row.patch if row.large_patch is None else row.large_patch // network.scale,
        weights=network.weights,
        calibration=CALIBRATION,
        sets=tuple(f"data/{name}" for name in sets),
        granularity=row.granularity,
        activation_granularity=row.activation_granularity,
    )
