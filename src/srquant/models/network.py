"""A float super-resolution network together with the facts that callers need about it."""

from dataclasses import dataclass, field

from torch import Tensor, nn

Argument = int | float | bool | str | list[int]


@dataclass(frozen=True)
class Facts:
    """What is known about a network besides its weights.

    Layer names are those of ``Network.module.named_modules()``.

    Attributes:
        architecture: registry name, e.g. ``edsr``.
        arguments: keyword arguments of the architecture's constructor; JSON values only.
        scale: upscaling factor.
        value_range: what the module takes and returns for white: 1.0 or 255.0.
        head: names of the first layers, 8 bit or float in most policies.
        tail: names of the upsampler's layers and the last layer.
        features: names of the modules whose outputs are compared in feature distillation.
        smallest: fewest rows and columns that the module can take; smaller pictures are extended for it.
        blocks: names of the residual blocks that a network of less depth can leave out.
        behind_blocks: name of the layer that alone reads the last block; None where there is none such.
        tiles_exactly: whether a tile with enough overlap gives the untiled result.
    """

    architecture: str
    scale: int
    value_range: float
    head: tuple[str, ...]
    tail: tuple[str, ...]
    features: tuple[str, ...] = ()
    arguments: dict[str, Argument] = field(default_factory=dict)
    tiles_exactly: bool = True
    smallest: int = 1
    blocks: tuple[str, ...] = ()
    behind_blocks: str | None = None

    @property
    def ends(self) -> frozenset[str]:
        """Names of head and tail."""
        return frozenset((*self.head, *self.tail))


class Network(nn.Module):
    """A network that takes and returns pictures in [0, 1], whatever its module works in."""

    def __init__(self, module: nn.Module, facts: Facts) -> None:
        super().__init__()
        self.module = module
        self.facts = facts

    def forward(self, images: Tensor) -> Tensor:
        """Upscale.

        Args:
            images: ``N x 3 x H x W`` RGB in [0, 1], float32.

        Returns:
            ``N x 3 x scale*H x scale*W`` RGB around [0, 1], not clipped.
        """
        if self.facts.value_range == 1.0:
            upscaled: Tensor = self.module(images)
        else:
            upscaled = self.module(images * self.facts.value_range) / self.facts.value_range
        return upscaled
