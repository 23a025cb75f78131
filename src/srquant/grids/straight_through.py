"""The straight-through estimator (Bengio et al. 2013): one value forward, the gradient of another backward.

>>> import torch
>>> x = torch.tensor([0.3, 1.6], requires_grad=True)
>>> straight_through(x.round(), gradient_of=x.tanh())
tensor([0., 2.], grad_fn=<AddBackward0>)
"""

from torch import Tensor


def straight_through(value: Tensor, gradient_of: Tensor) -> Tensor:
    """``value`` with the gradient of ``gradient_of``; two tensors of one shape, finite.

    Computed as ``(g - g) + value``, ``g`` being ``gradient_of``: adding zero gives exactly ``value``, while the usual
    ``g + (value - g)`` rounds twice.
    """
    return gradient_of - gradient_of.detach() + value.detach()
