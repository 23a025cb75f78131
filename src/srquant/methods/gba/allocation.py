"""Bit allocation: gradients are ranked, and the ranks become bit offsets (GBA Eq. 7)."""

import math
from collections.abc import Sequence

from srquant.errors import PolicyError


def allocate_bits(g: Sequence[float], largest: int = 1) -> list[int]:
    """Bit offsets ``theta_k`` from the gradients ``g_k`` of the loss in the bits of each layer (GBA Eq. 7).

    Layers are ranked by signed gradient in descending order, ``r_k = 0..K-1``. The layer where more bits lower the loss
    most has the highest rank. ``theta_k`` is ``round(largest * (2 r_k / (K-1) - 1))``, computed in integers. Halves are
    rounded towards zero, so that the offsets always add up to zero. The paper prints the equation for ``largest`` 1;
    for wider candidate sets its range is stretched, because as printed it never leaves -1..1.

    Args:
        g: one gradient per layer.
        largest: offsets lie in ``-largest..largest``, at least 1.

    Returns:
        ``theta`` in the order of ``g``; of layers with equal gradients, the earlier one has the lower rank.

    Raises:
        PolicyError: a gradient is not finite, or ``largest`` is below 1.

    >>> allocate_bits([-3.0, 0.5, -0.1, 0.0])
    [1, -1, 0, 0]
    """
    if largest < 1:
        raise PolicyError(f"the largest bit offset is {largest}: use at least 1")
    broken = [g_k for g_k in g if not math.isfinite(g_k)]
    if broken:
        raise PolicyError(f"a gradient of the loss in a layer's bits is {broken[0]}; check the calibration pictures")
    last = len(g) - 1
    theta = [0] * len(g)
    descending = sorted(range(len(g)), key=lambda k: -g[k])
    for r_k, k in enumerate(descending):
        theta[k] = _rounded(largest * (2 * r_k - last), last)
    return theta


def _rounded(numerator: int, denominator: int) -> int:
    """The integer nearest to the fraction, halves towards zero; 0 if the denominator is 0."""
    if denominator == 0:
        return 0
    size = (2 * abs(numerator) + denominator - 1) // (2 * denominator)
    return size if numerator > 0 else -size
