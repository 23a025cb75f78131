"""Settle grids on a lattice of powers of two, so that every engine computes the same picture, bit for bit.

A difference in the last bit of a float can change a rounding by a whole step, and twenty rounded layers turn one such
step into a different picture: engines agree on only half of the pixels of unsettled 8-bit EDSR. On the lattice
``delta * integer`` with ``delta`` a power of two

- the output scale of every layer is a multiple of ``delta``, and biases are whole numbers of it: sums of float32
  values are exact in any order, fused or not, because no value needs more than 24 bits;
- every step is an odd multiple of ``delta``: no value lies on a tie, and the distance to the next tie is larger than
  the rounding error of any way to divide by the step.

Activation bounds move by less than a thousandth of their range, unless another range is far wider. Weight bounds move
by the rounding of their output scale: very little at 4 bits, by up to a half at 8 bits.

In networks with factors between layers that are not powers of two (PReLU slopes, residual scaling), values leave the
lattice, and engines agree statistically only. Layers with dynamic ranges (``quantizers/dan.py``,
``quantizers/by_picture.py``) are left as they are: their step differs for every picture, and engines sum their products
in float, in different orders.
"""

import math

import torch
from torch import Tensor

from srquant.devices import has_float64
from srquant.grids.uniform import zero_point
from srquant.models.network import Network, device_of
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
    quant_layers,
    quant_modules,
    quantized_weight,
    scaled_weight,
)

GRID_BITS = 22
"""Bits of the widest grid's range in units of ``delta``; float32 holds 24 bits, so sums may be four times as large."""

FINE = 16
"""Output scales below this many ``delta`` are rounded up, so that no weight is clipped by more than a 32nd."""

COARSE = 64
"""Biases that only sums read become multiples of output scales up to this many ``delta``, as 8-bit layers have."""


@torch.no_grad()
def settle(network: Network) -> float:
    """Move all bounds of a quantized network onto its lattice, in place.

    This and a settled network compute in float64, so on a device without it (mps) the network is moved to the CPU.

    The grids of the first layers, whose input is the picture, have a separate lattice.

    Returns:
        ``delta`` of all other layers.
    """
    if not has_float64(device_of(network)):
        network.cpu()
    static = {name: quantizer for name, quantizer in activation_quantizers(network).items() if quantizer.static}
    heads = {quantizer for name, quantizer in static.items() if name in network.facts.head}
    inner = set(static.values()) - heads
    for quantizers in (heads, inner):
        delta = spacing(max((float((q.upper - q.lower).max()) for q in quantizers), default=1.0))
        for quantizer in quantizers:
            quantizer.settle(delta)
    modules = quant_modules(network)
    for layer in quant_layers(network).values():
        if not layer.input_quantizer.static:
            layer.cached_weight = layer.weight_quantizer.integer_weight(layer.weight).values().float()
            continue
        settle_weight(layer, delta)
        layer.lattice = delta
        settle_bias(layer, delta, next_quantizer(layer, modules, inner))
    for module in network.modules():
        if isinstance(module, QuantMatmul):
            module.lattice = delta
    return delta


def spacing(widest: float) -> float:
    """``delta`` for the widest range of a grid."""
    return 2.0 ** (math.ceil(math.log2(widest)) - GRID_BITS)


def settle_weight(layer: QuantLayer, delta: float) -> None:
    """Scale the weight's bounds so that the layer's output scale is a multiple of ``delta``."""
    quantizer = layer.weight_quantizer
    weight = scaled_weight(layer.weight, layer.input_quantizer)
    scale = quantizer.integer_weight(weight).scale.double() * bounded_quantizer(layer).step().mean().double()
    multiples = scale / delta
    settled = torch.where(multiples < FINE, multiples.ceil(), multiples.round())
    _stretch(quantizer, settled / multiples)


def next_quantizer(
    layer: QuantLayer, modules: dict[str, QuantModule], inner: set[ActivationQuantizer]
) -> ActivationQuantizer | None:
    """The quantizer among ``inner`` that alone reads the outputs of a layer, if there is one."""
    following = modules.get(layer.next or "")
    found = following.right if isinstance(following, QuantAddends) else None
    if isinstance(following, QuantLayer):
        found = following.input_quantizer
    return next((quantizer for quantizer in inner if quantizer is found), None)


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
