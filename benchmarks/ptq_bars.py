"""The numbers that were to be reached, each with the measured ones."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ptq_networks import SEEDS
from ptq_results import Entry

EDSR, IMDTN = "edsr_r8f64_x2", "imdtn_x4"


@dataclass(frozen=True)
class AtLeast:
    """A row must reach a PSNR on each set, with a mean of at most ``fab`` activation bits if that is given."""

    text: str
    network: str
    label: str
    psnr_y: dict[str, float]
    fab: float | None = None


@dataclass(frozen=True)
class Above:
    """Each row must be better than the one before, on each of the sets; ``bits``: whether to show the bits of each."""

    text: str
    network: str
    labels: tuple[str, ...]
    sets: tuple[str, ...] = ("Set5", "Set14")
    bits: bool = False


@dataclass(frozen=True)
class Near:
    """A row may lose at most ``db`` dB against the float network."""

    text: str
    network: str
    label: str
    db: float
    benchmark: str = "Set5"


Bar = AtLeast | Above | Near

BARS: tuple[Bar, ...] = (
    AtLeast("AdaBM, paper settings, not below its code", EDSR, "adabm", {"Set5": 34.90, "Set14": 31.59}, 4.0),
    AtLeast("AdaBM, relative rates", EDSR, "adabm relative", {"Set5": 37.0, "Set14": 32.7}, 4.0),
    AtLeast("GBA 4/4MP", EDSR, "gba", {"Set5": 37.35, "Set14": 33.0}),
    AtLeast(
        "the same, a tenth of the published rate", EDSR, "gba, a tenth of the rate", {"Set5": 37.35, "Set14": 33.0}
    ),
    AtLeast("the same, relative rates", EDSR, "gba relative", {"Set5": 37.35, "Set14": 33.0}),
    Above("GBA above AdaBM", EDSR, ("adabm", "gba")),
    Above("the same, a tenth of GBA's rate", EDSR, ("adabm", "gba, a tenth of the rate")),
    Above("the same, both with relative rates", EDSR, ("adabm relative", "gba relative")),
    Above("GBA without DAN above uniform bits", EDSR, ("gba none", "gba without DAN")),
    Above("the same, relative rates", EDSR, ("gba without DAN, uniform, relative", "gba without DAN, relative")),
    Above(
        "the same, ranges from mse, relative rates",
        EDSR,
        ("gba without DAN, uniform, mse ranges", "gba without DAN, mse ranges"),
    ),
    AtLeast("MSE without finetuning", EDSR, "mse", {"Set5": 37.1, "Set14": 32.8}),
    *(
        Above("finetuned above MSE", EDSR, ("mse", label))
        for label in (
            *("minmax+FT", "minmax+FT, squares", "mse+FT", "mse+FT, squares", "percentile+FT", "ptq4sr"),
            *("ptq4sr per channel", "adabm", "adabm relative, more bits", "2dquant", "2dquant DQC"),
            *("outlier-aware", "outlier-aware relative", "gba", "gba relative"),
            *("gba without DAN, relative", "gba without DAN, mse ranges"),
        )
    ),
    AtLeast("MinMax without finetuning", EDSR, "minmax", {"Set5": 35.9}),
    AtLeast("the same, weights by smallest error", EDSR, "minmax, weights by error", {"Set5": 35.9}),
    AtLeast("and batches of 4", EDSR, "minmax, weights by error, batches of 4", {"Set5": 35.9}),
    AtLeast("MinMax with finetuning", EDSR, "minmax+FT", {"Set5": 37.0}),
    Above("outlier-aware above MinMax+FT", EDSR, ("minmax+FT", "outlier-aware")),
    Above("the same, relative rates", EDSR, ("minmax+FT", "outlier-aware relative")),
    Above("PLQ alone above MinMax", EDSR, ("minmax", "outlier-aware PLQ")),
    AtLeast("2DQuant", EDSR, "2dquant", {"Set5": 37.2, "Set14": 32.85}),
    Above("DQC above DOBI alone", EDSR, ("2dquant DOBI", "2dquant")),
    Above("IMDTN, 2DQuant on linears and matmuls", IMDTN, ("minmax", "percentile", "2dquant DOBI", "2dquant")),
    Near("IMDTN, 2DQuant", IMDTN, "2dquant", 0.3),
    Near(
        "IMDTN, GBA* on linears and matmuls, weights per channel, corrected",
        IMDTN,
        "gba* relative, matmuls too, weights per channel, corrected",
        0.3,
    ),
    *(
        Above(f"GBA's ablation{when}", EDSR, labels, ("Set5",))
        for when, labels in (
            ("", ("gba none", "gba w", "gba without DAN", "gba", "gba*")),
            (", DAN", ("gba w", "gba DAN", "gba")),
            (
                ", relative rates",
                (
                    *("gba without DAN, uniform, relative", "gba w, relative", "gba without DAN, relative"),
                    *("gba relative", "gba* relative"),
                ),
            ),
            (", DAN, relative rates", ("gba w, relative", "gba DAN, relative", "gba relative")),
            (
                ", relative rates, ranges from mse",
                (
                    *("gba without DAN, uniform, mse ranges", "gba w, mse ranges", "gba without DAN, mse ranges"),
                    *("gba relative", "gba* relative"),
                ),
            ),
        )
    ),
    *(
        Above(f"AdaBM's ablation{when}, {part}", EDSR, labels, ("Set5",), bits=True)
        for when, suffix, everything in (
            ("", "", "adabm"),
            (", relative rates", ", relative", "adabm relative, more bits"),
        )
        for part, labels in (
            ("FT", ("adabm none", f"adabm FT{suffix}")),
            *((part, (f"adabm FT{suffix}", f"adabm {part}+FT{suffix}")) for part in ("I2B", "L2B", "BaC")),
            *(("all", (f"adabm {part}{suffix}", everything)) for part in ("I2B+FT", "L2B+FT", "BaC+FT")),
            ("all", ("adabm without FT", everything)),
        )
    ),
    *(
        Above(f"AdaBM without {part}", EDSR, (f"adabm without {part}", "adabm relative, more bits"), bits=True)
        for part in ("I2B", "L2B", "BaC")
    ),
    Above("2DQuant's ablation", EDSR, ("2dquant DOBI", "2dquant")),
    Above("2DQuant's ablation", EDSR, ("2dquant DQC", "2dquant")),
)


@dataclass(frozen=True)
class Line:
    """A line of the table; ``reached`` is None if something isn't measured yet."""

    bar: str
    measured: str
    reached: bool | None


def answers(found: list[Entry]) -> list[Line]:
    """One line per bar."""
    table = {(e.network, e.label): e for e in found if e.bits == 4 or e.label == "float"}
    return [_answer(bar, table) for bar in BARS]


def write_bars(found: list[Entry], path: Path) -> None:
    """Write the table."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [f"| {line.bar} | {line.measured} | {words[line.reached]} |" for line in answers(found)]
    head = (
        "# Numbers to reach\n\nMeans over the three calibration seeds, 4 bits, PSNR-Y in dB; where fewer are "
        "measured, or compared rows share fewer, it says so. Written by `benchmarks/ptq.py --assemble`; why "
        "some aren't reached: [ptq_reading.md](ptq_reading.md).\n"
    )
    path.write_text("\n".join([head, "| bar | measured | reached |", "| --- | --- | --- |", *rows]) + "\n")


def _answer(bar: Bar, table: dict[tuple[str, str], Entry]) -> Line:
    if isinstance(bar, AtLeast):
        return _at_least(bar, table.get((bar.network, bar.label)))
    if isinstance(bar, Above):
        return _above(bar, table)
    return _near(bar, table)


def _at_least(bar: AtLeast, entry: Entry | None) -> Line:
    limits = [f"{name} >= {db:g}" for name, db in bar.psnr_y.items()]
    limits += [] if bar.fab is None else [f"FAB <= {bar.fab:g}"]
    text = f"{bar.text}: {', '.join(limits)}"
    if entry is None:
        return Line(text, "", None)
    measured = {name: entry.psnr_y(name) for name in bar.psnr_y}
    shown = [f"{name} {_db(db)}" for name, db in measured.items()]
    fabs = [score.fab for score in entry.scores if score.set in bar.psnr_y and score.fab is not None]
    shown += [] if bar.fab is None else [f"FAB {' / '.join(f'{fab:.2f}' for fab in fabs)}"]
    few = bar.fab is None or all(fab <= bar.fab for fab in fabs)
    reached = few and all(db is not None and db >= bar.psnr_y[name] for name, db in measured.items())
    return Line(text, ", ".join(shown) + _of_seeds(entry.seeds), reached)


def _above(bar: Above, table: dict[tuple[str, str], Entry]) -> Line:
    """Means over the seeds that all of the rows have."""
    text = f"{bar.text}: {' < '.join(bar.labels)}"
    rows = [table[bar.network, label] for label in bar.labels if (bar.network, label) in table]
    if len(rows) < len(bar.labels):
        return Line(text, "", None)
    means, counts, bits = [], set(), []
    for name in bar.sets:
        scores = [score for score in (row.on(name) for row in rows) if score is not None]
        common = set.intersection(*(set(score.by_seed) for score in scores))
        if len(scores) < len(rows) or not common:
            return Line(text, "", None)
        both = [score.means(common) for score in scores]
        means.append([db for db, _ in both])
        bits.append([fab for _, fab in both])
        counts.add(len(common))
    shown = "; ".join(f"{name} {' < '.join(map(_db, row))}" for name, row in zip(bar.sets, means, strict=True))
    if bar.bits:
        shown += "; FAB " + ", ".join(" / ".join(map(_db, row)) for row in zip(*bits, strict=True))
    return Line(text, shown + _of_seeds(min(counts)), all(a < b for row in means for a, b in pairwise(row)))


def _near(bar: Near, table: dict[tuple[str, str], Entry]) -> Line:
    text = f"{bar.text}: within {bar.db:g} dB of float on {bar.benchmark}"
    entry = table.get((bar.network, bar.label))
    drop = None if entry is None else next((s.drop for s in entry.scores if s.set == bar.benchmark), None)
    return Line(
        text,
        "" if drop is None or entry is None else f"{drop:.2f} dB{_of_seeds(entry.seeds)}",
        None if drop is None else drop <= bar.db,
    )


def _of_seeds(count: int) -> str:
    """How many seeds were measured; empty if all were."""
    return "" if count == len(SEEDS) else f" ({count} of {len(SEEDS)} seeds)"


def _db(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
