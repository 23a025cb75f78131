"""Random small networks of many kinds of steps, each a module; and a picture that looks like a photograph."""

import random
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.models.blocks.layers import Add

BODY_SPREAD = 0.4
"""Standard deviation that the body adds to the upsampled picture, in [0, 1]: each code shows."""

UPSAMPLERS = ("shuffle", "shuffle", "nearest", "bilinear", "transposed")
EXACT_UPSAMPLERS = ("shuffle", "shuffle", "nearest")

ACTIVATIONS: tuple[Callable[[int], nn.Module], ...] = (
    lambda features: nn.ReLU(),
    lambda features: nn.PReLU(),
    lambda features: nn.PReLU(features),
    lambda features: nn.LeakyReLU(0.2),
    lambda features: nn.GELU(),
    lambda features: nn.GELU("tanh"),
    lambda features: nn.SiLU(),
    lambda features: nn.Tanh(),
    lambda features: nn.Sigmoid(),
    lambda features: nn.ELU(),
    lambda features: nn.Softplus(),
    lambda features: nn.Hardswish(),
    lambda features: nn.Mish(),
    lambda features: nn.Identity(),
)
EXACT_ACTIVATIONS: tuple[Callable[[int], nn.Module], ...] = (lambda features: nn.ReLU(), lambda features: nn.Identity())


class Product(nn.Module):
    """``a * b``."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors that broadcast."""
        return a * b


class Gate(nn.Module):
    """The input times a factor that a branch computes from it.

    Args:
        branch: gives the shape of its input, or one value per channel.
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch, self.product = branch, Product()

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same."""
        gated: Tensor = self.product(x, self.branch(x))
        return gated


class Residual(nn.Module):
    """The input plus ``scale`` times what a branch makes of it."""

    def __init__(self, branch: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.branch, self.add = branch, Add(scale)

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same."""
        added: Tensor = self.add(x, self.branch(x))
        return added


class Concatenated(nn.Module):
    """The input beside what a branch makes of it, and a convolution of both."""

    def __init__(self, branch: nn.Module, features: int) -> None:
        super().__init__()
        self.branch, self.join = branch, nn.Conv2d(2 * features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same."""
        joined: Tensor = self.join(torch.cat([x, self.branch(x)], 1))
        return joined


class Halves(nn.Module):
    """A branch for the first half of the channels; the others stay."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same, with an even ``C``."""
        first, second = x.chunk(2, 1)
        return torch.cat([self.branch(first), second], 1)


class HalvesProduct(nn.Module):
    """Twice the channels from a convolution, and the product of their halves."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv, self.product = nn.Conv2d(features, 2 * features, 3, padding=1), Product()

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same."""
        multiplied: Tensor = self.product(*self.conv(x).chunk(2, 1))
        return multiplied


class Resized(nn.Module):
    """Upsampling by a whole factor.

    Args:
        scale: the factor.
        mode: of PyTorch's interpolation.
    """

    def __init__(self, scale: int, mode: str) -> None:
        super().__init__()
        self.scale, self.mode = scale, mode

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """``N x C x H x W`` to ``N x C x scale*H x scale*W``, or to the size of another tensor."""
        size = [self.scale * side for side in x.shape[2:]] if like is None else like.shape[2:]
        return F.interpolate(x, size, mode=self.mode)


class Coarse(nn.Module):
    """A convolution with stride 2, upsampled again."""

    def __init__(self, conv: nn.Conv2d, mode: str) -> None:
        super().__init__()
        self.conv, self.resized = conv, Resized(2, mode)

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same."""
        resized: Tensor = self.resized(self.conv(x), x)
        return resized


class TokenMlp(nn.Module):
    """Layer norm, linear layer, GELU, linear layer for each pixel."""

    def __init__(self, features: int) -> None:
        super().__init__()
        wide = 2 * features
        self.steps = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, wide), nn.GELU(), nn.Linear(wide, features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to the same."""
        tokens: Tensor = self.steps(x.permute(0, 2, 3, 1))
        return tokens.permute(0, 3, 1, 2)


class Upscaler(nn.Module):
    """Body times a factor, plus the upsampled picture.

    Args:
        body: from a picture to a larger one.
        skip: upsampling of the picture.
        images: ``N x 3 x H x W``; the factor is such that the body has the spread ``BODY_SPREAD`` there.
    """

    def __init__(self, body: nn.Module, skip: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.body, self.skip = body, skip
        self.factor = BODY_SPREAD / max(1e-6, float(body(images).std()))

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``, in [0, 1]."""
        upscaled: Tensor = self.body(images) * self.factor + self.skip(images)
        return upscaled


class Drawing:
    """Draws the parts of a network.

    Args:
        chance: decides.
        exact: whether every step must give sums and products that floats hold exactly, in any order.
    """

    def __init__(self, chance: random.Random, exact: bool) -> None:
        self.chance, self.exact = chance, exact
        self.features = chance.choice((8, 12, 16))

    def conv(self, features: int) -> nn.Conv2d:
        """A convolution that keeps channels, height and width."""
        kernel, dilation = self.chance.choice((1, 3, 3, 3, 5)), self.chance.choice((1, 1, 1, 2))
        groups = self.chance.choice([count for count in (1, 1, 1, 2, 4, features) if features % count == 0])
        padding, bias = dilation * (kernel // 2), self.chance.random() < 0.8
        return nn.Conv2d(features, features, kernel, 1, padding, dilation, groups, bias)

    def activation(self, features: int) -> nn.Module:
        """One of all kinds."""
        return self.chance.choice(EXACT_ACTIVATIONS if self.exact else ACTIVATIONS)(features)

    def branch(self) -> nn.Module:
        """Convolution, activation, convolution."""
        return nn.Sequential(self.conv(self.features), self.activation(self.features), self.conv(self.features))

    def strided(self) -> nn.Module:
        """A smaller picture, upsampled again."""
        rows, columns = self.chance.choice(((3, 3), (3, 5), (1, 1)))
        groups, padding = self.chance.choice((1, 2)), (rows // 2, columns // 2)
        conv = nn.Conv2d(self.features, self.features, (rows, columns), 2, padding, groups=groups)
        return Coarse(conv, "nearest" if self.exact else self.chance.choice(("nearest", "bilinear", "bicubic")))

    def gate(self) -> nn.Module:
        """A factor for each value, or for each channel."""
        conv = nn.Conv2d(self.features, self.features, 1)
        pooled: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if self.chance.random() < 0.3 else []
        return Gate(nn.Sequential(*pooled, conv, nn.Sigmoid()))

    def norm(self) -> nn.Module:
        """A batch norm that has seen pictures, behind a convolution or alone."""
        norm = nn.BatchNorm2d(self.features)
        for values, (low, high) in ((norm.running_mean, (-0.1, 0.1)), (norm.running_var, (0.5, 2.0))):
            assert values is not None
            values.uniform_(low, high)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        return nn.Sequential(self.conv(self.features), norm) if self.chance.random() < 0.5 else norm

    def block(self) -> nn.Module:
        """One of all kinds of blocks."""
        features = self.features
        exact: list[Callable[[], nn.Module]] = [
            lambda: nn.Sequential(self.conv(features), self.activation(features)),
            lambda: Residual(self.branch()),
            lambda: Concatenated(self.branch(), features),
            lambda: Halves(self.conv(features // 2)),
            lambda: Residual(self.strided()),
            lambda: nn.MaxPool2d(3, 1, 1),
            lambda: nn.ChannelShuffle(2),
        ]
        others: list[Callable[[], nn.Module]] = [
            lambda: Residual(self.branch(), self.chance.choice((-0.5, 0.1, 0.37))),
            self.gate,
            self.norm,
            lambda: Residual(TokenMlp(features)),
            lambda: Residual(HalvesProduct(features)),
        ]
        return self.chance.choice(exact if self.exact else exact + others)()

    def tail(self, scale: int) -> nn.Module:
        """One of the four kinds of upsampling, with its convolution."""
        features = self.features
        to_colours = nn.Conv2d(features, 3, 3, padding=1)
        kind = self.chance.choice(EXACT_UPSAMPLERS if self.exact else UPSAMPLERS)
        if kind == "shuffle":
            return nn.Sequential(nn.Conv2d(features, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        if kind == "transposed":
            return nn.Sequential(nn.ConvTranspose2d(features, features, scale, scale), to_colours)
        return nn.Sequential(Resized(scale, kind), to_colours)


@torch.no_grad()
def random_network(chance: random.Random, exact: bool, images: Tensor) -> tuple[nn.Module, int]:
    """A network with random weights, and its scale.

    Args:
        chance: decides.
        exact: whether it has no float function before a quantizer: only steps whose results floats hold exactly.
        images: ``N x 3 x H x W``, on which its output gets a visible spread.
    """
    torch.manual_seed(chance.randrange(2**31))
    drawing, scale = Drawing(chance, exact), chance.choice((2, 2, 3, 4))
    blocks = [drawing.block() for _ in range(chance.choice((2, 3, 4)))]
    body = nn.Sequential(nn.Conv2d(3, drawing.features, 3, padding=1), *blocks, drawing.tail(scale))
    skip = Resized(scale, chance.choice(("nearest", "bilinear")))
    return Upscaler(body.eval(), skip, images).eval(), scale


def leaves(height: int, width: int, seed: int = 0, discs: int = 400) -> NDArray[np.uint8]:
    """``H x W x 3``: discs of all sizes over each other, as leaves; their edges and sizes are as in photographs."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    picture = np.zeros((height, width, 3))
    for _ in range(discs):
        row, column = generator.uniform(0, height), generator.uniform(0, width)
        radius = 2.0 / generator.uniform(0.1, 1) ** 1.5
        disc = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        picture[disc] = generator.uniform(20, 235, 3) + generator.normal(0, 4, (int(disc.sum()), 3))
    return picture.round().clip(0, 255).astype(np.uint8)
