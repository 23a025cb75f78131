"""Head and tail of an unknown network, found by the way a small picture takes through its layers."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.models.hooks import watch_inputs
from srquant.models.network import bytes_of, device_of

COLOURS = 3

GREY = 0.5


@dataclass(frozen=True)
class Call:
    """A layer that ran.

    Attributes:
        name: of the layer.
        inputs: channels that it reads.
        outputs: channels that it gives.
        rows: of its input; 0 for a linear layer.
    """

    name: str
    inputs: int
    outputs: int
    rows: int


@torch.no_grad()
def layers_in_order(module: nn.Module, side: int, scale: int) -> list[Call]:
    """The convolutions and linear layers in the order in which a grey picture runs through them, each once.

    Layers that get the same input from every picture, as those that compute biases of positions, are left out.

    Args:
        module: left in the mode in which it is.
        side: rows and columns of the picture.
        scale: by which it must enlarge the picture.

    Raises:
        PolicyError: the module can't upscale such a picture, or not by the scale, or gives another one each time.
    """
    layers = {name: child for name, child in module.named_modules() if isinstance(child, nn.Conv2d | nn.Linear)}
    calls, seen, reached = dict[str, Call](), dict[str, list[bytes]](), set[str]()

    def see(name: str, inputs: tuple[Tensor, ...]) -> None:
        calls.setdefault(name, call_of(name, layers[name], inputs[0]))
        seen.setdefault(name, []).append(digest(inputs[0]))

    def compare(name: str, inputs: tuple[Tensor, ...]) -> None:
        if seen[name].pop(0) != digest(inputs[0]):
            reached.add(name)

    training = {child: child.training for child in module.modules()}
    require_own_statistics(module)
    image = torch.full((1, COLOURS, side, side), GREY, device=device_of(module))
    try:
        with watch_inputs(layers, see):
            output = module.eval()(image.clone())
        again = module(image.clone())
        with watch_inputs(layers, compare):
            module(noise(side).to(image))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise PolicyError(
            f"{type(module).__name__} can't upscale a picture of {side}x{side} pixels ({error}): say which sizes it "
            "takes by multiple_of and smallest; wrap a module that takes pictures only"
        ) from error
    finally:
        for child, mode in training.items():
            child.training = mode
    require_scale(module, output, side, scale)
    require_same(module, output, again)
    return [call for call in calls.values() if call.name in reached]


def digest(x: Tensor) -> bytes:
    """What stands for the values of a tensor: inputs of all layers together may not fit into memory."""
    return hashlib.sha256(bytes_of(x)).digest()


def noise(side: int) -> Tensor:
    """A picture without structure, ``1 x 3 x side x side`` in [0, 1], always the same."""
    return torch.rand(1, COLOURS, side, side, generator=torch.Generator().manual_seed(0))


def call_of(name: str, layer: nn.Module, x: Tensor) -> Call:
    """What a layer does with its input."""
    if isinstance(layer, nn.Conv2d):
        return Call(name, layer.in_channels, layer.out_channels, x.shape[2])
    assert isinstance(layer, nn.Linear)
    return Call(name, layer.in_features, layer.out_features, 0)


def require_scale(module: nn.Module, output: object, side: int, scale: int) -> None:
    """Raise a ``PolicyError`` unless the output is one RGB picture, ``scale`` times as large."""
    wanted = (1, COLOURS, scale * side, scale * side)
    if not isinstance(output, Tensor) or tuple(output.shape) != wanted:
        given = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise PolicyError(
            f"{type(module).__name__} makes {given} of a picture of shape {(1, COLOURS, side, side)}, not {wanted}: "
            f"check the scale, {scale}"
        )


def require_same(module: nn.Module, output: Tensor, again: Tensor) -> None:
    """Raise a ``PolicyError`` where a module makes two pictures of one."""
    if not torch.equal(output, again):
        difference = float((output - again).abs().max())
        raise PolicyError(
            f"{type(module).__name__} makes another picture of the same one each time (difference {difference:.2g}): "
            "wrap a module without noise and without dropout that stays on in evaluation"
        )


def require_own_statistics(module: nn.Module) -> None:
    """Raise a ``PolicyError`` where a batch norm has no statistics of its own, so that pictures change each other."""
    for name, child in module.named_modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.running_mean is None:
            raise PolicyError(
                f"layer {name!r} normalises by the statistics of its batch; train it with track_running_stats=True"
            )


def head_of(calls: list[Call]) -> tuple[str, ...]:
    """Layers from the picture to the first features: all that give colours, and the one behind them."""
    return tuple(call.name for call in _with_next(calls, [call.outputs for call in calls]))


def tail_of(calls: list[Call]) -> tuple[str, ...]:
    """The upsampler, and the layers from the last features to the picture, in the order in which they run."""
    last = {call.name for call in _with_next(calls[::-1], [call.inputs for call in reversed(calls)])}
    upsampler = {call.name for call in _upsampler(calls)}
    return tuple(call.name for call in calls if call.name in last | upsampler)


def _with_next(calls: list[Call], channels: Iterable[int]) -> list[Call]:
    """The first calls with no more channels than colours, and one more; only the first call if none has more."""
    count = len(list(takewhile(lambda number: number <= COLOURS, channels)))
    return calls[: count + 1] if count < len(calls) else calls[:1]


def _upsampler(calls: list[Call]) -> list[Call]:
    """Layers on more rows than the first one, and the layer before them if a pixel shuffle is between."""
    rows = next((call.rows for call in calls if call.rows), 0)
    first = next((i for i, call in enumerate(calls) if call.rows > rows), None)
    if first is None:
        return []
    shuffled = first > 0 and calls[first - 1].outputs > calls[first].inputs
    return calls[first - shuffled :]
