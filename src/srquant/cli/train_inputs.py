"""Read the values of the options of ``srquant train``: method, bits, and the network to start from."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from srquant.errors import CheckpointError, InputError, PolicyError, suggest

if TYPE_CHECKING:
    from srquant.methods.trained_registry import TrainedMethod
    from srquant.models.network import Argument, Network

FLOAT = "float"
"""The training method that doesn't quantize and can start from random weights."""

DEFAULT_BITS = 4


def find_trained(name: str) -> "TrainedMethod[Any]":
    """The training method called ``name``.

    Raises:
        PolicyError: there is none.
    """
    from srquant.methods.registry import METHODS
    from srquant.methods.trained_registry import TRAINED

    if name in METHODS:
        raise PolicyError(
            f"{name} doesn't train weights: use srquant quantize; methods of srquant train: {', '.join(TRAINED)}"
        )
    if name not in TRAINED:
        raise PolicyError(f"no training method is called {name!r}; {suggest(name, TRAINED)}")
    return TRAINED[name]


def body_bits(method: str, weight: int | None, activation: int | None) -> tuple[int, int]:
    """Bits of the body's weights and activations.

    Raises:
        PolicyError: bits were given for a method that doesn't quantize.
    """
    if method == FLOAT and (weight, activation) != (None, None):
        raise PolicyError(f"--method {method} doesn't quantize: leave out -w and -a, or choose another method")
    return weight or DEFAULT_BITS, activation or DEFAULT_BITS


def first_network(init: str, method: str, scale: int | None, seed: int) -> "Network":
    """The float network that training starts from.

    Args:
        init: checkpoint, name of a packaged network, or, for the float method only, an architecture such as
            ``edsr:blocks=16,features=64,scale=2``.
        method: name of the training method.
        scale: the wanted scale, if a checkpoint contains several.
        seed: of random weights.

    Raises:
        CheckpointError: it can't be loaded or built, or srquant couldn't load the trained network again.
        InputError: random weights for a method other than float.
    """
    from srquant.cli.quantize import load_float
    from srquant.models.network import CUSTOM
    from srquant.models.packaged import find_model

    name, colon, arguments = init.partition(":")
    path = find_model(Path(init))
    if path.exists() or not colon:
        network = load_float(path, scale)
    elif method != FLOAT:
        raise InputError(f"--init {init}: {method} starts from trained weights; give a float checkpoint")
    else:
        network = random_network(name, architecture_arguments(init, arguments), seed)
    if network.facts.architecture == CUSTOM:
        raise CheckpointError(
            f"--init {init}: srquant can't write networks that were loaded with spandrel; give a checkpoint of "
            "an architecture that srquant itself knows"
        )
    return network


def random_network(architecture: str, arguments: "dict[str, Argument]", seed: int) -> "Network":
    """A network with seeded random weights.

    Raises:
        CheckpointError: no such network, or one whose arguments can't be inferred from its weights.
    """
    import torch

    from srquant.models.load import build, recognise

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(architecture, arguments)
    weights = network.module.state_dict()
    found = recognise(weights)
    inferred = None if found is None else found[0].infer(weights)
    if inferred != network.facts.arguments:
        raise CheckpointError(
            f"{architecture} with {network.facts.arguments} would be read back from its file as {inferred}: choose "
            "other arguments"
        )
    return network


def architecture_arguments(init: str, text: str) -> "dict[str, Argument]":
    """Arguments of an architecture from text such as ``blocks=16,features=64,scale=2``; a list is ``6+6+6+6``.

    Raises:
        InputError: the text has another form.
    """
    arguments: dict[str, Argument] = {}
    for part in text.split(",") if text else []:
        name, equals, value = part.partition("=")
        if not equals or not name or not value:
            raise InputError(
                f"--init {init}: give ARCHITECTURE:NAME=VALUE,... such as edsr:blocks=16,features=64,scale=2"
            )
        arguments[name] = _argument(value)
    return arguments


def _argument(text: str) -> "Argument":
    if "+" in text:
        return [int(part) if part.isdecimal() else 0 for part in text.split("+")]
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
