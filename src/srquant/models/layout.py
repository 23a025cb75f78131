"""Names of weights in checkpoints (layouts), and the architectures that they are recognised as."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from srquant.models.network import Argument, Facts

Weights = dict[str, Tensor]
Arguments = dict[str, Argument]


def unchanged(weights: Weights, scale: int | None) -> Weights:
    """No conversion: the checkpoint uses the names of srquant."""
    return weights


@dataclass(frozen=True)
class Layout:
    """One way of naming the weights of an architecture.

    Attributes:
        keys: the layout is recognised if all these names are present,
        without: and none of these.
        convert: maps weights and the wanted scale (None: the checkpoint's only scale) to weights with srquant's names.
    """

    keys: tuple[str, ...]
    without: tuple[str, ...] = ()
    convert: Callable[[Weights, int | None], Weights] = unchanged

    def fits(self, weights: Weights) -> bool:
        """Whether the weights have this layout."""
        return all(key in weights for key in self.keys) and not any(key in weights for key in self.without)


@dataclass(frozen=True)
class Architecture:
    """A network that can be built from arguments and recognised in a checkpoint.

    Attributes:
        name: value of ``Facts.architecture``.
        module: constructor of the network.
        facts: returns the network's facts; takes the arguments of ``module``.
        infer: finds these arguments from weights with srquant's names.
        layouts: names of the weights in checkpoints.
    """

    name: str
    module: Callable[..., nn.Module]
    facts: Callable[..., Facts]
    infer: Callable[[Weights], Arguments]
    layouts: tuple[Layout, ...]


def register(*architectures: Architecture) -> Mapping[str, Architecture]:
    """Architectures by name.

    Raises:
        ValueError: two have the same name.
    """
    by_name: dict[str, Architecture] = {}
    for architecture in architectures:
        if architecture.name in by_name:
            raise ValueError(f"two architectures are named {architecture.name!r}")
        by_name[architecture.name] = architecture
    return by_name


def rename(weights: Weights, *rules: tuple[str, str]) -> Weights:
    """Apply ``re.sub`` rules (pattern, replacement), in order, to every name."""
    renamed = {}
    for name, tensor in weights.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def count(weights: Weights, pattern: str) -> int:
    """Number of names that the regular expression matches completely."""
    return sum(re.fullmatch(pattern, name) is not None for name in weights)


def upscaling(weights: Weights, features: int, *stages: str) -> int:
    """Scale of an upsampler: the product of the factors ``r`` of its stages.

    Args:
        weights: by name.
        features: channels after each pixel shuffle.
        stages: names of the convolutions before the pixel shuffles, with ``r**2 * features`` output channels; missing
            ones are ignored.
    """
    widths = [weights[f"{stage}.weight"].shape[0] for stage in stages if f"{stage}.weight" in weights]
    return math.prod(math.isqrt(width // features) for width in widths)
