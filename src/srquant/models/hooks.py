"""See what enters and leaves modules while a context is open; no hook outlives it.

Hooks that change what they see are placed by hand: the handle that PyTorch returns is a context manager itself.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, nn

Name = TypeVar("Name")
Inputs = tuple[Tensor, ...]


@contextmanager
def watch_inputs(modules: Mapping[Name, nn.Module], see: Callable[[Name, Inputs], None]) -> Iterator[None]:
    """Before each call of a module, show ``see`` its name and its positional arguments."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_pre_hook(partial(_show, see, name)))
        yield


@contextmanager
def watch_outputs(modules: Mapping[Name, nn.Module], see: Callable[[Name, Inputs, Tensor], None]) -> Iterator[None]:
    """After each call of a module, show ``see`` its name, its positional arguments and its output."""
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(partial(_show, see, name)))
        yield


@contextmanager
def kept_inputs(*modules: nn.Module) -> Iterator[list[Tensor]]:
    """The first argument of each call of the modules, in the order of the calls."""
    kept: list[Tensor] = []
    with watch_inputs(dict(enumerate(modules)), lambda _, inputs: kept.append(inputs[0])):
        yield kept


@contextmanager
def kept_outputs(*modules: nn.Module) -> Iterator[list[Tensor]]:
    """The output of each call of the modules, in the order of the calls."""
    kept: list[Tensor] = []
    with watch_outputs(dict(enumerate(modules)), lambda _name, _inputs, output: kept.append(output)):
        yield kept


def _show(see: Callable[..., None], name: object, _: nn.Module, *values: Any) -> None:
    """A hook that returns nothing, so that it changes nothing."""
    see(name, *values)
