"""I2B, image-to-bit mapping: the gradient density of a picture decides what it adds to the bits (AdaBM section 3.3)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.errors import DatasetError
from srquant.grids.picture_density import gradient_density
from srquant.grids.straight_through import straight_through

NARROWEST_DENSITY = 1e-3
"""The two thresholds stay at least this far apart, in units of ``gradient_density``."""


class ImageToBit(nn.Module):
    """I2B: gradient density to ``b_I``, which is -1 below ``lower``, +1 above ``upper``, else 0 (AdaBM Eq. 3).

    Args:
        lower: ``l_i2b``, 0-d, in units of ``gradient_density``.
        upper: ``u_i2b``, 0-d, at least ``lower``.
        scaled: whether the gradient has the released code's factor ``2 / (upper - lower)``; AdaBM Eq. 7 has none.
    """

    def __init__(self, lower: Tensor, upper: Tensor, scaled: bool = True) -> None:
        super().__init__()
        self.scaled = scaled
        self.lower = nn.Parameter(lower.detach().clone())
        self.upper = nn.Parameter(upper.detach().clone())

    def forward(self, density: Tensor) -> Tensor:
        """``N`` densities to ``N`` times ``b_I``; the gradient is that of tanh (AdaBM Eq. 6 and 7)."""
        b_i = (density > self.upper).float() - (density < self.lower).float()
        position = density - (self.upper + self.lower) / 2
        if self.scaled:
            position = position * 2 / (self.upper - self.lower)
        return straight_through(b_i, position.tanh())

    @torch.no_grad()
    def keep_apart(self) -> None:
        """Move the upper threshold up where it is closer than ``NARROWEST_DENSITY`` to the lower one."""
        self.upper.copy_(torch.maximum(self.upper, self.lower + NARROWEST_DENSITY))


@dataclass
class I2BCalibration:
    """First thresholds of I2B: quantiles of the crops' gradient densities, a moving average over batches.

    Args:
        share: 0..0.5, share of a batch below the lower and above the upper threshold.
        momentum: weight of earlier batches.
        quantiles: 2 values, lower and upper; None before the first batch.
        scaled: as ``ImageToBit``.
    """

    share: float
    momentum: float
    quantiles: Tensor | None = None
    scaled: bool = True

    def update(self, density: Tensor) -> None:
        """Add the densities of one batch, ``N``."""
        new = density.quantile(density.new_tensor([self.share, 1 - self.share]))
        self.quantiles = new if self.quantiles is None else self.momentum * self.quantiles + (1 - self.momentum) * new

    def watching(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The same batches; the densities of each are added before it is passed on."""
        for images in batches:
            self.update(gradient_density(images))
            yield images

    def image_to_bit(self) -> ImageToBit:
        """The mapping with these thresholds.

        Raises:
            DatasetError: all crops have the same density.
        """
        assert self.quantiles is not None
        lower, upper = self.quantiles
        if float(upper - lower) < NARROWEST_DENSITY:
            raise DatasetError(
                f"all calibration crops have gradient density {float(lower):.3g}, so adabm can't tell pictures apart: "
                "give different pictures, or --set image_to_bit=false"
            )
        return ImageToBit(lower, upper, self.scaled)
