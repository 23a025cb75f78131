"""Bits from gradients: layers are ranked, and the rank decides who gets bits and who gives them (GBA Eq. 7)."""

import math
from collections.abc import Sequence

from srquant.errors import PolicyError


def allocate_bits(gradients: Sequence[float], largest: int = 1) -> list[int]:
    """Bit offsets ``theta`` of layers from the gradients of the loss in their bits (GBA Eq. 7).

    Ranks go by the signed gradient in descending order: where more bits lower the loss most, the rank is highest.
    Rank ``r`` of ``K`` layers becomes ``round(largest * (2r / (K-1) - 1))``. The arithmetic is in integers and halves
    go to zero, so that offsets always add up to zero. The published form has ``largest`` 1; for wider candidate sets
    its range is stretched, as it could not leave +-1 otherwise.

    Args:
        gradients: one per layer.
        largest: offsets lie in ``-largest..largest``, at least 1.

    Returns:
        Offsets in the order of ``gradients``; of equal gradients, the earlier layer ranks lower.

    Raises:
        PolicyError: a gradient is not finite, or ``largest`` is below 1.

    >>> allocate_bits([-3.0, 0.5, -0.1, 0.0])
    [1, -1, 0, 0]
    """
    if largest < 1:
        raise PolicyError(f"the largest bit offset is {largest}: use at least 1")
    broken = [gradient for gradient in gradients if not math.isfinite(gradient)]
    if broken:
        raise PolicyError(f"a gradient of the loss in a layer's bits is {broken[0]}; check the calibration pictures")
    last = len(gradients) - 1
    offsets = [0] * len(gradients)
    descending = sorted(range(len(gradients)), key=lambda layer: -gradients[layer])
    for rank, layer in enumerate(descending):
        offsets[layer] = _rounded(largest * (2 * rank - last), last)
    return offsets


def _rounded(numerator: int, denominator: int) -> int:
    """The whole number nearest to the fraction, halves towards zero; 0 where the denominator is."""
    if denominator == 0:
        return 0
    size = (2 * abs(numerator) + denominator - 1) // (2 * denominator)
    return size if numerator > 0 else -size
