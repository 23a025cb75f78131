"""Use any PyTorch network with srquant."""

from torch import nn

from srquant.errors import PolicyError, suggest
from srquant.models.network import Facts, Network


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
        module: any module with ``Conv2d`` or ``Linear`` layers; it is not copied.
        scale: its upscaling factor.
        value_range: value of white in its input and output.
        head: names of the first layers; None: the first ``Conv2d`` or ``Linear``.
        tail: names of the last layers; None: the last ``Conv2d`` or ``Linear``.
        features: names of modules whose outputs are compared in distillation.
        multiple_of: rows and columns of a picture must be multiples of this; other pictures are padded first.
        smallest: fewest rows and columns that the module can upscale; smaller pictures are padded first.

    Raises:
        PolicyError: no layer that can be quantized, or a name that the module doesn't have.
    """
    layers = [name for name, child in module.named_modules() if isinstance(child, nn.Conv2d | nn.Linear)]
    if not layers:
        raise PolicyError(f"{type(module).__name__} has no Conv2d or Linear layer, so nothing can be quantized")
    facts = Facts(
        architecture="custom",
        scale=scale,
        value_range=value_range,
        head=(layers[0],) if head is None else head,
        tail=(layers[-1],) if tail is None else tail,
        features=features,
        multiple_of=multiple_of,
        smallest=smallest,
    )
    known = dict(module.named_modules())
    for name in (*facts.head, *facts.tail, *features):
        if name not in known:
            raise PolicyError(f"{type(module).__name__} has no module {name!r}; {suggest(name, known)}")
    return Network(module, facts)
