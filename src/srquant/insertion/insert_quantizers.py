"""Replace the layers of a float network by quantized ones."""

import copy

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.grids.range_rules import Rule, separate_bounds
from srquant.insertion.collect_ranges import ActivationBounds
from srquant.insertion.plan import SIDES, QuantizationPlan
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.blocks.layers import Add, Matmul
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.integer_weight import weight_levels
from srquant.quantizers.layers import QuantAdd, QuantConv2d, QuantLinear, QuantMatmul, scaled_weight


def insert_quantizers(network: Network, plan: QuantizationPlan, bounds: ActivationBounds, weight_rule: Rule) -> Network:
    """A quantized copy of a float network.

    A layer with 8-bit activations whose input is a sum on an 8-bit grid shares that grid, so that integer engines
    quantize only once.

    Args:
        network: the float network, left unchanged.
        plan: of this network.
        bounds: of every activation that the plan quantizes.
        weight_rule: bounds of a weight tensor.

    Raises:
        PolicyError: the policy quantizes sums but the network has none, or a layer has no quantized form.
    """
    quantized = copy.deepcopy(network)
    sums, shared = _quantize_sums(quantized, plan, bounds), plan.shared_grids()
    for name, bits in plan.layers.items():
        layer = quantized.module.get_submodule(name)
        activation = sums[shared[name]] if name in shared else ActivationQuantizer(*bounds[name], bits.activation)
        weight = _weight_quantizer(layer.get_parameter("weight"), activation, bits, plan.policy, weight_rule)
        inserted = _quantized_layer(name, layer, activation, weight)
        inserted.next = plan.next.get(name)
        quantized.module.set_submodule(name, inserted)
    _quantize_matmuls(quantized, plan, bounds)
    return quantized


def _quantize_sums(
    network: Network, plan: QuantizationPlan, bounds: ActivationBounds
) -> dict[str, ActivationQuantizer]:
    if plan.policy.skip_bits is not None and not plan.sums:
        raise PolicyError("skip_bits=8, but the network has no residual Add modules; use float skip connections")
    quantizers = {name: ActivationQuantizer(*bounds[name], bits) for name, bits in plan.sums.items()}
    for name, quantizer in quantizers.items():
        add = network.module.get_submodule(name)
        assert isinstance(add, Add)
        network.module.set_submodule(name, QuantAdd(add, quantizer))
    return quantizers


def _quantize_matmuls(network: Network, plan: QuantizationPlan, bounds: ActivationBounds) -> None:
    for name, bits in plan.matmuls.items():
        left, right = (ActivationQuantizer(*bounds[f"{name}.{side}"], bits) for side in SIDES)
        matmul = network.module.get_submodule(name)
        assert isinstance(matmul, Matmul)
        network.module.set_submodule(name, QuantMatmul(matmul, left, right))


def _quantized_layer(
    name: str, layer: nn.Module, activation: ActivationQuantizer, weight: WeightQuantizer
) -> QuantConv2d | QuantLinear:
    layer = require_quantizable(name, layer)
    if isinstance(layer, nn.Linear):
        return QuantLinear(layer, activation, weight)
    return QuantConv2d(layer, activation, weight)


def require_quantizable(name: str, layer: nn.Module) -> nn.Conv2d | nn.Linear:
    """The layer, if it can be quantized.

    Raises:
        PolicyError: it has no quantized form.
    """
    if isinstance(layer, nn.Linear):
        return layer
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and _pads_evenly(layer):
        return layer
    raise PolicyError(f"layer {name!r} ({layer}) can't be quantized; keep it float with an override")


def _pads_evenly(layer: nn.Conv2d) -> bool:
    spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return layer.padding != "same" or all(span % 2 == 0 for span in spans)


def _weight_quantizer(
    weight: Tensor, activation: ActivationQuantizer, bits: LayerBits, policy: Policy, rule: Rule
) -> WeightQuantizer:
    scaled = scaled_weight(weight.detach(), activation)
    rows = scaled.flatten(1) if policy.granularity == "channel" else scaled.reshape(1, -1)
    lower, upper = separate_bounds(*rule(rows, weight_levels(bits.weight)))
    lower, upper = lower.clamp(max=0), upper.clamp(min=0)
    if policy.symmetric_weights:
        upper = torch.maximum(-lower, upper)
    shape = (-1, *[1] * (weight.dim() - 1)) if policy.granularity == "channel" else ()
    return WeightQuantizer(lower.reshape(shape), upper.reshape(shape), bits.weight, policy.symmetric_weights)
