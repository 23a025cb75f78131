"""What the processor's integer instructions can do.

Without VNNI, 8-bit products are added in pairs with saturation at 16 bits (``pmaddubsw``): 255 * 127 twice is
64770, but the instruction returns 32767. A layer whose pairs can't exceed 16 bits is exact on any processor.
"""

import torch
from torch import Tensor

INT16_MAX = 32767


def has_vnni() -> bool:
    """Whether the processor sums 8-bit products in 32 bits (VNNI, or the ARM dot product)."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability in ("NEON", "SVE", "SVE256"):
        return True
    return bool(torch.cpu._is_vnni_supported())


def safe_on_pair_saturation(weight: Tensor, levels: int) -> bool:
    """Whether no sum of two products of a layer can exceed 16 bits, whichever two weights the kernel pairs.

    Args:
        weight: int8, output channels first.
        levels: number of activation codes; they run from 0 to ``levels - 1``.

    Returns:
        True where saturating pair sums are exact.
    """
    magnitudes = weight.flatten(1).abs_() if weight.dtype == torch.int16 else weight.flatten(1).to(torch.int16).abs()
    pairs = magnitudes.topk(min(2, magnitudes.shape[1]), dim=1).values.sum(1)
    return int(pairs.max()) * (levels - 1) <= INT16_MAX
