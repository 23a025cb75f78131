"""Rows of the papers beside ours, made from lists of networks, methods and bits."""

from collections.abc import Iterator, Mapping

from ptq_networks import NETWORKS
from ptq_run import FLOAT
from reproduce_runs import float_run, large, row
from reproduce_sources import Absent, Quantized, Source
from reproduce_table import Count, Line, Printed

FLOAT_BITS = 32
Models = Mapping[tuple[str, int], tuple[str, ...]]
"""The paper's network and scale -> ours that stand for it; empty where there is none."""

Methods = Mapping[str, tuple[str, ...]]
"""The paper's method -> our rows: as published first, then with settings that fit the network."""

AT_HAND = {
    ("EDSR", 2): ("edsr_r8f64_x2",),
    ("EDSR", 4): ("edsr_r16f64_x4", "rnet_r9f64_x4"),
    ("RDN", 2): ("rdn_x2",),
    ("RDN", 4): ("rdn_x2",),
    ("CARN", 4): ("carn_x2",),
    ("SRResNet", 4): ("srresnet_r16f64_x4", "srresnet_r8f64_x4"),
    ("SwinIR-light", 2): ("swinir_light_x2",),
    ("SwinIR-light", 3): (),
    ("SwinIR-light", 4): ("imdtn_x4",),
}
"""Networks at hand; ``ptq_networks.py`` says how they differ from the papers'."""

NOTE = "Crops of 48x48 for the papers' 96x96. Manga109 isn't at hand, of Urban100 30 pictures are"


def stand_in(*names: tuple[str, int]) -> str:
    """What stands for the networks of a table."""
    notes = {net.name: net.note for net in NETWORKS}
    found = dict.fromkeys(network for name in names for network in AT_HAND[name])
    return ". ".join([*(f"{network}: {notes[network]}" for network in found), NOTE])


def models(*names: tuple[str, int]) -> Models:
    """Some of the networks at hand."""
    return {name: AT_HAND[name] for name in names}


def quality(of: Models, methods: Methods, bits: tuple[int, ...], *, float_rows: bool = True) -> tuple[Line, ...]:
    """A table of networks x methods x bits; the float networks first."""
    return tuple(line for model in of for line in _of_model(*model, of[model], methods, bits, float_rows))


def _of_model(
    model: str, scale: int, networks: tuple[str, ...], methods: Methods, bits: tuple[int, ...], float_rows: bool
) -> Iterator[Line]:
    if float_rows:
        yield from beside(Printed(model, scale, "FP", FLOAT_BITS, FLOAT_BITS), networks, (FLOAT,))
    for width in bits:
        for method, labels in methods.items():
            yield from beside(Printed(model, scale, method, width, width), networks, labels)


def beside(printed: Printed, networks: tuple[str, ...], labels: tuple[str, ...]) -> Iterator[Line]:
    """A row of the paper, once for each of ours."""
    if not networks:
        yield Line(printed, Absent("no such network at hand"))
    for network in networks:
        for label in labels:
            yield Line(printed, measured(network, label, printed.weight_bits))


def measured(network: str, label: str, bits: int, column: str = "psnr") -> Source:
    """A row of ``ptq.py``."""
    runs = row(network, label, bits)
    if not runs:
        return Absent(f"{label} is for convolutions only, {network} has attention")
    return Quantized(runs, float_run(network), column)


def on_large_pictures(printed: Printed, network: str, label: str) -> Line:
    """A row of ``ptq.py`` on the pictures that stand for Test2K."""
    if printed.weight_bits != printed.activation_bits:
        reason = "weights and activations of different bits: `srquant quantize -w 8 -a 6`, then `srquant evaluate`"
        return Line(printed, Absent(reason))
    run, base = large(network, label, printed.weight_bits), large(network, FLOAT, FLOAT_BITS)
    return Line(printed, Quantized((run,), base))


def seconds(label: str, printed: float, ours: Source) -> Line:
    """A time of the paper beside ours."""
    return Line(Count(label, {"seconds": printed}), ours)
