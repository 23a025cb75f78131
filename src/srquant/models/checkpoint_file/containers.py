"""Where in a checkpoint the weights are, and what training frameworks write before their names."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from srquant.errors import CheckpointError
from srquant.models.layout import Weights

CONTAINERS = (
    *("params_ema", "params-ema", "ema", "model_ema", "ema_model", "ema_state_dict", "net_g_ema"),
    *("params", "state_dict", "model_state_dict", "net_g", "netG", "generator", "net", "network", "model", "weights"),
)
"""Keys under which training frameworks store the weights; averaged weights come first."""

DEEPEST = 4
"""Most containers inside each other, and most prefixes after each other."""

WRAPPERS = re.compile(r"(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What compiling, sharding and checkpointing put into names, anywhere."""

PREFIXES = (
    *("ema_model.", "model_ema.", "net_g_ema.", "ema."),
    *("module.", "net_g.", "netG.", "generator.", "network.", "net.", "model."),
)
"""What training frameworks put before names, which may be part of a network's own names, too; averages come first."""

BESIDE = re.compile(
    r"(n_averaged|num_updates|decay|.*(loss|criterion|cri_|metric|psnr|ssim|perceptual|vgg|lpips|discriminator)"
    r"|net_?d\b).*",
    re.IGNORECASE,
)
"""Names that may stand beside those of a network with a prefix: they belong to the training."""


def weights_in(content: Any, path: Path) -> Weights:
    """The tensors of the network by name; everything beside them is left out.

    Args:
        content: of a checkpoint.
        path: for messages.

    Raises:
        CheckpointError: there are none at a known place, or a name isn't a text.
    """
    found = _container(content, DEEPEST)
    if found is None:
        raise CheckpointError(
            f"{path}: contains no state dict (names to tensors){_described(content)}; save the network's state_dict()"
        )
    weights = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    for name in weights:
        if not isinstance(name, str):
            raise CheckpointError(
                f"{path}: the name of a weight is {name!r:.40}, not a text; save the network's state_dict()"
            )
    return _without("module.", {WRAPPERS.sub("", name): tensor for name, tensor in weights.items()})


def spellings(weights: Weights, depth: int = DEEPEST) -> Iterator[Weights]:
    """The same weights as they are, then without each prefix that training frameworks put before names."""
    yield weights
    for prefix in PREFIXES if depth else ():
        inner = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
        rest = (name for name in weights if not name.startswith(PREFIXES))
        if inner and all(BESIDE.fullmatch(name) for name in rest):
            yield from spellings(inner, depth - 1)


def _container(content: Any, depth: int) -> dict[Any, Any] | None:
    """The innermost dict that holds tensors."""
    if not isinstance(content, dict) or depth == 0:
        return None
    for key in CONTAINERS:
        inner = _container(content.get(key), depth - 1)
        if inner is not None:
            return inner
    return content if any(isinstance(value, Tensor) for value in content.values()) else None


def _without(prefix: str, weights: Weights) -> Weights:
    """The weights without a prefix that all names have, maybe several times."""
    for _ in range(DEEPEST):
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _described(content: Any) -> str:
    """The keys of a checkpoint, for messages."""
    if not isinstance(content, dict):
        return f", but a {type(content).__name__}"
    keys = [f"{key!r:.40} ({type(value).__name__})" for key, value in list(content.items())[:8]]
    return f", only {', '.join(keys)}" if keys else ", it is empty"
