"""Use any PyTorch network with srquant."""

from dataclasses import replace

from torch import nn

from srquant.errors import PolicyError, suggest
from srquant.models.find_ends import head_of, layers_in_order, tail_of
from srquant.models.network import CUSTOM, Facts, Network

PROBE = 32
"""Least side of the picture with which head and tail are found."""


def wrap(
    module: nn.Module,
    scale: int,
    value_range: float = 1.0,
    head: tuple[str, ...] | None = None,
    tail: tuple[str, ...] | None = None,
    features: tuple[str, ...] = (),
    multiple_of: int = 1,
    smallest: int = 1,
) -> Network:
    """Make a ``Network`` from a module that upscales ``N x 3 x H x W`` pictures.

    Args:
        module: any module with ``Conv2d`` or ``Linear`` layers; it is not copied, and runs on small pictures.
        scale: its upscaling factor.
        value_range: value of white in its input and output.
        head: names of the first layers; None: those that a picture runs through first, up to the first features.
        tail: names of the last layers; None: those of the upsampler and behind it, and the last layer.
        features: names of modules whose outputs are compared in distillation.
        multiple_of: rows and columns of a picture must be multiples of this; other pictures are padded first.
        smallest: fewest rows and columns that the module can upscale; smaller pictures are padded first.

    Raises:
        PolicyError: no layer that can be quantized, a name that the module doesn't have, a module that can't upscale a
            picture, or not by the scale.
    """
    known = dict(module.named_modules())
    if not any(isinstance(child, nn.Conv2d | nn.Linear) for child in known.values()):
        raise PolicyError(f"{type(module).__name__} has no Conv2d or Linear layer, so nothing can be quantized")
    for name in (*(head or ()), *(tail or ()), *features):
        if name not in known:
            raise PolicyError(f"{type(module).__name__} has no module {name!r}; {suggest(name, known)}")
    facts = Facts(CUSTOM, scale, value_range, (), (), features, multiple_of=multiple_of, smallest=smallest)
    calls = layers_in_order(module, PROBE + facts.padding(PROBE), scale)
    head = head_of(calls) if head is None else head
    tail = tail_of(calls) if tail is None else tail
    reached = {call.name for call in calls}
    unused = tuple(
        name for name, layer in known.items() if isinstance(layer, nn.Conv2d | nn.Linear) and name not in reached
    )
    return Network(module, replace(facts, head=head, tail=tail, unused=unused))
