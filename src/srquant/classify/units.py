"""Units: parts of a network that are reconstructed one after the other, and their inputs and outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.classify.layers import QuantReLU, RoundedLayer, StepQuantizer
from srquant.classify.resnet import ResNet18, blocks
from srquant.classify.rounding import AdaptiveRounding
from srquant.models.hooks import kept_inputs, kept_outputs

Run = Callable[[Tensor], Tensor]
FORWARD_BATCH = 64


@dataclass(frozen=True)
class Unit:
    """Names of consecutive modules; a float network and its quantized copy have the same names."""

    names: tuple[str, ...]

    def modules(self, network: nn.Module) -> list[nn.Module]:
        """All modules inside, in their order."""
        return [module for name in self.names for module in network.get_submodule(name).modules()]

    def run(self, network: nn.Module) -> Run:
        """The unit as a function."""
        parts = [network.get_submodule(name) for name in self.names]

        def forward(x: Tensor) -> Tensor:
            for part in parts:
                x = part(x)
            return x

        return forward

    def roundings(self, network: nn.Module) -> list[AdaptiveRounding]:
        """The rounding variables inside."""
        return [module for module in self.modules(network) if isinstance(module, AdaptiveRounding)]

    def quantizers(self, network: nn.Module) -> list[StepQuantizer]:
        """The activation quantizers inside."""
        return [module for module in self.modules(network) if isinstance(module, StepQuantizer)]

    def switch_on(self, network: nn.Module, weights: bool = False, activations: bool = False) -> None:
        """Quantize weights, activations or both from now on."""
        for module in self.modules(network):
            if isinstance(module, RoundedLayer):
                module.quantize |= weights
            elif isinstance(module, QuantReLU):
                module.quantize |= activations


def block_units(network: ResNet18) -> list[Unit]:
    """Units of BRECQ: stem, eight residual blocks, classifier."""
    return [Unit(("conv1", "relu")), *(Unit((name,)) for name in blocks(network)), Unit(("fc",))]


def layer_units(network: ResNet18) -> list[Unit]:
    """Units of AdaRound: every convolution and the classifier, with the ReLU if one follows directly."""
    units = [Unit(("conv1", "relu"))]
    for name in blocks(network):
        units += [Unit((f"{name}.conv1", f"{name}.relu1")), Unit((f"{name}.conv2",))]
        if not isinstance(network.get_submodule(f"{name}.downsample"), nn.Identity):
            units.append(Unit((f"{name}.downsample.0",)))
    return [*units, Unit(("fc",))]


@dataclass(frozen=True)
class Examples:
    """Inputs and targets from which a unit learns, one row per calibration image.

    Attributes:
        quantized_input: the unit's input in the quantized network, where the units before it are already quantized.
        float_input: the unit's input in the float network.
        target: the unit's output in the float network.
    """

    quantized_input: Tensor
    float_input: Tensor
    target: Tensor


def examples_of(unit: Unit, teacher: nn.Module, student: nn.Module, images: Tensor) -> Examples:
    """Run both networks on ``images`` and keep the inputs and outputs of the unit."""
    float_input, target = captured(unit, teacher, images)
    return Examples(captured(unit, student, images)[0], float_input, target)


@torch.no_grad()
def captured(unit: Unit, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Input and output of a unit, ``images`` rows each."""
    first, last = network.get_submodule(unit.names[0]), network.get_submodule(unit.names[-1])
    with kept_inputs(first) as inputs, kept_outputs(last) as outputs:
        for batch in torch.split(images, FORWARD_BATCH):
            network(batch)
    return torch.cat(inputs), torch.cat(outputs)
