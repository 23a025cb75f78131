"""Operations and weights counted as b/32, against Table 2 of QuantSR's supplement."""

import re
from functools import cache
from pathlib import Path

import pytest

from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, LayerKind, Policy
from srquant.measure.cost.compression import Compression, compression
from srquant.measure.cost.formulas import LayerCost, count_macs, matrix_products, weighted_layers
from srquant.methods.default_layer_kinds import default_layer_kinds
from srquant.methods.trained_registry import TRAINED
from srquant.models.load import build
from srquant.models.network import Network

PAGE = Path(__file__).parents[3] / "docs" / "methods" / "quantsr.md"

PRINTED = {("C", 32): 29.9, ("C", 16): 20.2, ("C", 8): 15.4, ("T", 4): 9.39, ("T", 2): 6.03, ("T", 1): 4.34}
"""G operations at 4 bits for a low-resolution picture of 256 x 256."""

PRINTED_2_BIT = {("C", 32): 11.5, ("C", 16): 10.9, ("C", 8): 10.6, ("T", 4): 3.08, ("T", 2): 2.87, ("T", 1): 2.77}

PRINTED_WEIGHTS = {32: 451, 16: 303, 8: 230}
"""K weights of QuantSR-C at 4 bits."""

AREA = 256**2


@cache
def network_of(variant: str, blocks: int) -> Network:
    """The caption says x4; the float rows, 90.1 and 56.47 G, are those of x2."""
    if variant == "C":
        return build("edsr", {"blocks": blocks, "scale": 2})
    return build("swinir", {"depths": [6] * blocks, "scale": 2})


@cache
def macs_of(network: Network) -> dict[str, int]:
    """Of 64 x 64 pixels; SwinIR adds 8 mirrored ones to 56."""
    side = 56 if network.facts.architecture == "swinir" else 64
    return count_macs(network, [*weighted_layers(network), *matrix_products(network)], side, side)


def costs_of(network: Network, bits: int, kinds: tuple[LayerKind, ...]) -> list[LayerCost]:
    """For a picture of 256 x 256; head and tail are float."""
    layers = resolve(network, Policy(LayerBits(bits, bits), None, None, kinds=kinds)).layers
    macs = macs_of(network)
    modules = dict(network.module.named_modules())
    costs = []
    for name, count in macs.items():
        weights = modules[name].weight.numel() if hasattr(modules[name], "weight") else 0
        used = (layers[name].weight, layers[name].activation) if name in layers else (32, 32)
        costs.append(LayerCost(name, count * AREA // 64**2, weights, *used))
    return costs


def quantsr(variant: str, blocks: int, bits: int, kinds: tuple[LayerKind, ...] | None = None) -> Compression:
    network = network_of(variant, blocks)
    of = costs_of(network_of(variant, {"C": 16, "T": 4}[variant]), bits, ("conv", "linear"))
    return compression(costs_of(network, bits, kinds or default_layer_kinds(TRAINED["quantsr"], network)), of)


@pytest.mark.parametrize(("variant", "blocks"), PRINTED, ids=lambda value: str(value))
def test_default_layers_give_the_printed_operations(variant, blocks):
    assert quantsr(variant, blocks, 4).operations / 1e9 == pytest.approx(PRINTED[variant, blocks], rel=0.003)


@pytest.mark.parametrize(("blocks", "operations"), [(4, 16.81), (2, 9.73), (1, 6.19)])
def test_linear_layers_alone_give_more(blocks, operations):
    assert quantsr("T", blocks, 4, ("linear",)).operations / 1e9 == pytest.approx(operations, abs=0.005)


@pytest.mark.parametrize("blocks", PRINTED_WEIGHTS)
def test_printed_weights_of_the_convolutional_network(blocks):
    assert quantsr("C", blocks, 4).weights / 1e3 == pytest.approx(PRINTED_WEIGHTS[blocks], rel=0.004)


@pytest.mark.parametrize(("variant", "blocks"), PRINTED_2_BIT, ids=lambda value: str(value))
def test_printed_2_bit_rows_count_128th_instead_of_16th(variant, blocks):
    network = network_of(variant, blocks)
    costs = costs_of(network, 2, default_layer_kinds(TRAINED["quantsr"], network))
    quantized = sum(cost.macs for cost in costs if cost.weight_count and cost.weight_bits == 2)
    others = sum(cost.macs for cost in costs if cost.weight_count and cost.weight_bits == 32)
    printed = PRINTED_2_BIT[variant, blocks]
    assert (others + quantized / 128) / 1e9 == pytest.approx(printed, rel=0.006)
    assert compression(costs).operations / 1e9 > 1.05 * printed


def test_savings_of_the_published_table():
    """Of the float network of 16 blocks."""
    assert quantsr("C", 16, 4).operations_saved == pytest.approx(0.775, abs=0.001)
    assert quantsr("C", 8, 4).operations_saved == pytest.approx(0.829, abs=0.001)
    assert quantsr("C", 32, 4).weights_saved == pytest.approx(0.670, abs=0.001)


def test_bits_that_differ():
    costs = [LayerCost("a", 10, 4, 4, 8), LayerCost("product", 1000, 0, 8, 8), LayerCost("b", 10, 4)]
    small = compression(costs)
    assert (small.operations, small.weights) == (10 * 8 / 32 + 10, 4 * 4 / 32 + 4)
    assert (small.operations_saved, small.weights_saved) == (1 - 12.5 / 20, 1 - 4.5 / 8)
    operations = "0.00 G operations (37.5% fewer, in theory 1.6 times as fast)"
    assert str(small) == f"counted as b/32: {operations}, 0 K weights (43.8% fewer)"


def test_the_page_has_these_numbers():
    rows = re.findall(
        r"^\| QuantSR-([CT]) \| (\d+) \| (\d) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", PAGE.read_text(), re.M
    )
    assert len(rows) == len(PRINTED) + len(PRINTED_2_BIT)
    for variant, blocks, bits, printed, ours, weights in rows:
        counted = quantsr(variant, int(blocks), int(bits))
        expected = {"4": PRINTED, "2": PRINTED_2_BIT}[bits][variant, int(blocks)]
        assert (float(printed), ours) == (expected, f"{counted.operations / 1e9:.2f}")
        assert weights == f"{counted.weights / 1e3:.0f}"
