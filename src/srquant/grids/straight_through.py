"""The straight-through estimator (Bengio et al. 2013): one value forward, the gradient of another backward.

>>> import torch
>>> x = torch.tensor([0.3, 1.6], requires_grad=True)
>>> straight_through(x.round(), gradient_of=x.tanh())
tensor([0., 2.], grad_fn=<AddBackward0>)
"""

from torch import Tensor


def straight_through(value: Tensor, gradient_of: Tensor) -> Tensor:
    """``value`` with the gradient of ``gradient_of``; two tensors of one shape, finite.

    ``(g - g) + value``: a zero is added, so the result is ``value`` to the last bit. ``g + (value - g)`` would round
    twice where the two differ much in size.
    """
    return gradient_of - gradient_of.detach() + value.detach()
