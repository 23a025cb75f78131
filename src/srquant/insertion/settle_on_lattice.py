"""Settle grids on a lattice of powers of two, so that every engine computes the same picture, bit for bit.

A difference in the last bit of a float can change a rounding by a whole step, and twenty rounded layers turn one such
step into a different picture: engines agree on only half of the pixels of unsettled 8-bit EDSR. On the lattice
``delta * integer`` with ``delta`` a power of two

- the output scale of every layer is a multiple of ``delta``, and biases are whole numbers of it: sums of float32
  values are exact in any order, fused or not, because no value needs more than 24 bits;
- every step is an odd multiple of ``delta``: no value lies on a tie, and the distance to the next tie is larger than
  the rounding error of any way to divide by the step.

Only values that meet before they are rounded need one lattice (``quantizers/meeting.py``), so there are several, each
as fine as its own widest grid allows. Activation bounds move by less than a thousandth of their range, unless another
range of the same lattice is far wider. Weight bounds move by the rounding of their output scale: very little at 4 bits,
by up to a half at 8 bits in layers whose results are small compared with the values that they meet. So where bits are
many, bounds settle before weights are rounded (``settle_bounds``): rounding once to the final grid costs far less than
rounding twice.

In networks with factors between layers that are not powers of two (PReLU slopes, residual scaling), values leave the
lattice, and engines agree statistically only. Layers with dynamic ranges (``quantizers/dan.py``,
``quantizers/by_picture.py``) are left as they are: their step differs for every picture, and engines sum their products
in float, in different orders.
"""

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from srquant.devices import has_float64
from srquant.grids.uniform import MOST_BITS, zero_point
from srquant.models.network import Network, device_of, modules_of
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import (
    QuantAddends,
    QuantLayer,
    QuantMatmul,
    QuantModule,
    activation_quantizers,
    bounded_quantizer,
    expand_to_weight,
    output_scale,
    quant_modules,
    quantized_weight,
)
from srquant.quantizers.meeting import Meeting, everything, meetings

GRID_BITS = 22
"""Bits of the widest grid's range in units of ``delta``; float32 holds 24 bits, so sums may be four times as large."""

FINE = 16
"""Output scales below this many ``delta`` are rounded up, so that no weight is clipped by more than a 32nd."""

SETTLED_WIDTH = 1.0005
"""A settled range is at most so many times as wide as before."""

COARSE = 64
"""Biases that only sums read become multiples of output scales up to this many ``delta``, as 8-bit layers have."""

FEWEST_WITH_ZERO = 4
"""Bits from which on zero becomes a point of the grids of matrix products, which moves them by half a step at most."""

WHOLE = 1e-4
"""A number of multiples that is nearer to a whole one is whole: scales are float32."""


@torch.no_grad()
def settle(network: Network) -> None:
    """Move all bounds and biases of a quantized network onto lattices, in place: one for all values that meet.

    This and a settled network compute in float64, so on a device without it (mps) the network is moved to the CPU.

    The grids of the first layers, whose input is the picture, have a separate lattice.
    """
    if not has_float64(device_of(network)):
        network.cpu()
    _fix(network, _settle_bounds(network, meetings(network)))


@torch.no_grad()
def settle_bounds(network: Network) -> None:
    """Move bounds as ``settle`` does, and nothing else: what is rounded to them later stays when all settles.

    On a device without float64 nothing moves.
    """
    if has_float64(device_of(network)):
        _settle_bounds(network, meetings(network))


@torch.no_grad()
def settle_on_one(network: Network) -> float:
    """As ``settle``, with one lattice for all grids but those of the first layers.

    Returns:
        Its ``delta``.
    """
    if not has_float64(device_of(network)):
        network.cpu()
    deltas = _settle_bounds(network, [everything(network)])
    _fix(network, deltas)
    return next(iter(deltas.values()))


def _settle_bounds(network: Network, groups: list[Meeting]) -> dict[QuantLayer | QuantMatmul, float]:
    """Settle grids of activations, then of weights; returns ``delta`` of the results of every layer and product."""
    hold_zeros(network)
    heads, inner = _heads_and_inner(network)
    common = _spacing_of(inner)
    deltas = [_settle_grids(grids) for grids in (heads, *(inner.intersection(group.quantizers) for group in groups))]
    found: dict[QuantLayer | QuantMatmul, float] = {}
    for group, delta in zip(groups, deltas[1:], strict=True):
        for module in group.modules:
            found[module] = common if delta is None else delta
            if isinstance(module, QuantLayer) and module.input_quantizer.static:
                found[module] = own = fine_for(module) if delta is None else delta
                settle_weight(module, own)
    return found


def hold_zeros(network: Network) -> None:
    """Make zero a point of the grids of matrix products, so that engines need no sums for offsets.

    With 8 bits it is the middle one, as bytes hold no other; with fewer than 4 the grid would move too far.
    """
    for product in modules_of(network.module, QuantMatmul).values():
        for quantizer in (product.left, product.right):
            if quantizer.bits >= FEWEST_WITH_ZERO:
                quantizer.hold_zero(middle=quantizer.bits == MOST_BITS)


def _heads_and_inner(network: Network) -> tuple[set[ActivationQuantizer], set[ActivationQuantizer]]:
    """Quantizers with static grids: those that read the picture, and all others."""
    static = {name: quantizer for name, quantizer in activation_quantizers(network).items() if quantizer.static}
    heads = {quantizer for name, quantizer in static.items() if name in network.facts.head}
    return heads, set(static.values()) - heads


def _settle_grids(quantizers: Collection[ActivationQuantizer]) -> float | None:
    """Settle grids on one ``delta``, which is returned; None without any."""
    delta = _spacing_of(quantizers)
    for quantizer in quantizers:
        quantizer.settle(delta)
    return delta if quantizers else None


def _spacing_of(quantizers: Collection[ActivationQuantizer]) -> float:
    return spacing(max((float((q.upper - q.lower).max()) for q in quantizers), default=1.0))


def _fix(network: Network, deltas: Mapping[QuantLayer | QuantMatmul, float]) -> None:
    """Settle the biases, and let layers and products give multiples of their ``delta``."""
    modules, (_, inner) = quant_modules(network), _heads_and_inner(network)
    for module, delta in deltas.items():
        if isinstance(module, QuantMatmul):
            module.lattice = delta
        elif module.input_quantizer.static:
            module.lattice = delta
            settle_bias(module, delta, next_quantizer(module, modules, inner))
        else:
            module.cached_weight = module.weight_quantizer.integer_weight(module.weight).values().float()


def fine_for(layer: QuantLayer) -> float:
    """``delta`` for a layer whose values meet no grid: its largest output scale is 32 to 63 multiples when settled."""
    largest = float(output_scale(layer).double().max()) * 4 * FINE / (4 * FINE - 0.5)
    return 2.0 ** math.floor(math.log2(largest)) / (2 * FINE)


def spacing(widest: float) -> float:
    """``delta`` for the widest range of a grid; the same once that grid has settled, if its range is a power of two."""
    return 2.0 ** (math.ceil(math.log2(widest / SETTLED_WIDTH)) - GRID_BITS)


def settle_weight(layer: QuantLayer, delta: float) -> None:
    """Scale the weight's bounds so that the layer's output scale is a multiple of ``delta``."""
    quantizer = layer.weight_quantizer
    multiples = output_scale(layer).double() / delta
    settled = torch.where(multiples < FINE, (multiples - WHOLE).ceil(), multiples.round()).clamp(min=1)
    _stretch(quantizer, settled / multiples)


def next_quantizer(
    layer: QuantLayer, modules: dict[str, QuantModule], inner: set[ActivationQuantizer]
) -> ActivationQuantizer | None:
    """The quantizer among ``inner`` that alone reads the outputs of a layer, if there is one."""
    following = modules.get(layer.next or "")
    found = following.right if isinstance(following, QuantAddends) else None
    if isinstance(following, QuantLayer):
        found = following.input_quantizer
    return found if isinstance(found, ActivationQuantizer) and found in inner else None


def settle_bias(layer: QuantLayer, delta: float, next_grid: ActivationQuantizer | None) -> None:
    """Move the bias so that engines can add it to sums of integers as a whole number.

    With the contribution of the input grid's offset it becomes a multiple of the output scale; where the output goes to
    one grid only, plus that grid's offset, so that sums of integers become its integers at once. Where it goes to none,
    coarse scales would change the picture, and it becomes a multiple of ``delta`` only.
    """
    if layer.layer.bias is None:
        return
    weight, unit = quantized_weight(layer).double(), output_scale(layer).double()
    if next_grid is None:
        unit = torch.where(unit > COARSE * delta, delta, unit)
    added = (weight * _offsets(bounded_quantizer(layer), weight)).flatten(1).sum(1)
    target = _next_offset(next_grid, len(unit))
    total = added + layer.layer.bias - target
    layer.layer.bias.copy_((total / unit).round() * unit + target - added)


def _next_offset(quantizer: ActivationQuantizer | None, channels: int) -> Tensor | float:
    """Offset of the next grid for each channel; 0 without one, or where a shuffle changed the channels."""
    offset = None if quantizer is None else _offset(quantizer).flatten()
    return 0.0 if offset is None or len(offset) not in (1, channels) else offset


def _offsets(quantizer: ActivationQuantizer, weight: Tensor) -> Tensor:
    offset = _offset(quantizer)
    return expand_to_weight(offset, weight) if offset.dim() else offset


def _offset(quantizer: ActivationQuantizer) -> Tensor:
    """Value of integer 0 in engines, float64, shape of the bounds."""
    lower = quantizer.lower.double()
    if lower.dim():
        return lower
    return lower + quantizer.step() * zero_point(quantizer.lower, quantizer.upper, quantizer.levels)


def _stretch(quantizer: WeightQuantizer, factors: Tensor) -> None:
    shaped = factors.float().reshape(quantizer.upper.shape) if quantizer.upper.dim() else factors[0].float()
    quantizer.upper.mul_(shaped)
    if quantizer.lower is not None:
        quantizer.lower.mul_(shaped)
