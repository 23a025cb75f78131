"""Gradients of bounds as AdaBM prints them (Eq. 8 and 9): only clipped values move a bound."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor

from srquant.grids.straight_through import straight_through
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import activation_quantizers, quant_layers


@contextmanager
def clipping_gradients(student: Network) -> Iterator[None]:
    """While the context is open, bounds that are learned have the gradients of Eq. 8 and 9; grid points stay the same.

    Eq. 9 is taken literally: 1 for all weights beyond ``u_w``, also for negative ones, whose grid point is ``-u_w``. It
    is for grids ``-u_w..u_w``; of a grid with two bounds only the upper one learns.
    """
    with ExitStack() as hooks:
        for quantizer in activation_quantizers(student).values():
            hooks.enter_context(quantizer.register_forward_hook(_eq_8))
        for layer in quant_layers(student).values():
            weight = layer.weight_quantizer
            weight.full_gradient = True
            hooks.callback(setattr, weight, "full_gradient", False)
            hooks.enter_context(weight.register_forward_hook(_eq_9))
        yield


def _eq_8(quantizer: ActivationQuantizer, inputs: tuple[Tensor, ...], points: Tensor) -> Tensor:
    """The gradient of clipping: in ``l_a`` 1 where x is below, in ``u_a`` 1 where x is above, in x 1 between them."""
    if not quantizer.upper.requires_grad:
        return points
    return straight_through(points, gradient_of=inputs[0].clamp(quantizer.lower, quantizer.upper))


def _eq_9(quantizer: WeightQuantizer, inputs: tuple[Tensor, ...], points: Tensor) -> Tensor:
    """In ``u_w`` 1 where a weight's magnitude is above it."""
    if not quantizer.upper.requires_grad:
        return points
    return straight_through(points, gradient_of=(inputs[0].abs() > quantizer.upper) * quantizer.upper)
