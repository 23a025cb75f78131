"""What a network costs: multiplications, bit operations, bit-widths.

The formulas take ``LayerCost`` records, so they are the same for float, quantized and frozen networks.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError, suggest
from srquant.grids.uniform import FLOAT_BITS
from srquant.models.blocks.layers import MatrixProduct, MeanShift
from srquant.models.hooks import watch_outputs
from srquant.models.network import Network, modules_of


@dataclass(frozen=True)
class LayerCost:
    """One convolution, linear layer or product of two activations.

    Attributes:
        name: as in ``Network.module.named_modules()``.
        macs: multiply-accumulates for one picture, bias not counted.
        weight_count: number of weights, bias not counted; a product has none.
        weight_bits: bits per weight, or per value of a product's second operand; 32 for float.
        activation_bits: bits per input value, on average where they vary; 32 for float.
    """

    name: str
    macs: int
    weight_count: int
    weight_bits: float = FLOAT_BITS
    activation_bits: float = FLOAT_BITS


def weighted_layers(network: Network) -> list[str]:
    """Names of all modules with a matrix or convolution ``weight``: float, quantized or frozen, without mean shifts."""
    found: list[str] = []
    for name, module in network.module.named_modules():
        inside = any(name.startswith(outer + ".") for outer in found)
        if not inside and _has_weight(module) and not isinstance(module, MeanShift):
            found.append(name)
    return found


def matrix_products(network: Network) -> list[str]:
    """Names of all products of two activations: float, quantized or frozen."""
    return list(modules_of(network.module, MatrixProduct))


def count_macs(network: Network, names: Iterable[str], height: int, width: int) -> dict[str, int]:
    """Multiply-accumulates of layers, from one forward pass on a black picture.

    Args:
        network: any network, left unchanged; it runs in the mode, training or evaluation, that it is in.
        names: layers with ``weight`` of two or four dimensions and products of two activations, names relative to
            ``network.module``.
        height: rows of the low-resolution picture.
        width: its columns.

    Returns:
        Count per name, summed over the calls of a layer that is used more than once; zero where it isn't called.

    Raises:
        PolicyError: no such layer, or it is neither a layer with ``weight`` nor a product.
    """
    counts = dict.fromkeys(names, 0)
    modules = {name: _layer(network, name) for name in counts}

    def count(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        applied = inputs[0] if isinstance(modules[name], nn.ConvTranspose2d) else output
        counts[name] += applied.numel() * _factors(modules[name], inputs)

    with watch_outputs(modules, count), torch.inference_mode():
        network(torch.zeros(1, 3, height, width))
    return counts


def bit_ops(layers: Iterable[LayerCost]) -> float:
    """Sum of ``2 * macs * weight_bits * activation_bits``; a float layer counts 32 x 32."""
    return sum(2 * layer.macs * layer.weight_bits * layer.activation_bits for layer in layers)


def feature_average_bits(layers: Iterable[LayerCost], ends: Collection[str]) -> float | None:
    """FAB: unweighted mean of the activation bits of the quantized layers between head and tail.

    Args:
        layers: all of a network.
        ends: names of head and tail; they count only where no other layer is quantized.

    Returns:
        None where no layer is quantized.
    """
    bits = {layer.name: layer.activation_bits for layer in layers if layer.activation_bits < FLOAT_BITS}
    counted = [b for name, b in bits.items() if name not in ends] or list(bits.values())
    return sum(counted) / len(counted) if counted else None


def mean_activation_bits(layers: Sequence[LayerCost]) -> float:
    """Activation bits weighted by multiply-accumulates; float layers count as 32."""
    return sum(layer.macs * layer.activation_bits for layer in layers) / sum(layer.macs for layer in layers)


def mean_weight_bits(layers: Sequence[LayerCost]) -> float:
    """Weight bits weighted by the number of weights; float layers count as 32."""
    return sum(layer.weight_count * layer.weight_bits for layer in layers) / sum(layer.weight_count for layer in layers)


def _layer(network: Network, name: str) -> nn.Module:
    try:
        module = network.module.get_submodule(name)
    except AttributeError:
        raise PolicyError(f"the network has no layer {name!r}: {suggest(name, weighted_layers(network))}") from None
    if not _has_weight(module) and not isinstance(module, MatrixProduct):
        raise PolicyError(
            f"{name!r} is neither a convolution nor a linear layer: {suggest(name, weighted_layers(network))}"
        )
    return module


def _factors(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Multiplications per value of the layer's output, or input for a transposed convolution."""
    if isinstance(module, MatrixProduct):
        return inputs[0].shape[-1]
    return _weight(module).numel() // _weight(module).shape[0]


def _has_weight(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim in (2, 4)


def _weight(module: nn.Module) -> Tensor:
    return torch.as_tensor(module.weight)
