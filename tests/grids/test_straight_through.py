"""One value forward, the gradient of another backward."""

import torch

from srquant.grids.straight_through import straight_through


def test_the_value_is_exact_whatever_the_gradient_comes_from():
    value = torch.tensor([0.1, 1e-30, -3.0, 0.0])
    large = torch.tensor([1e20, -1e20, 1e-20, 7.0], requires_grad=True)
    assert torch.equal(straight_through(value, large), value)
    assert not torch.equal(large + (value - large.detach()), value)


def test_the_gradient_is_that_of_the_other_tensor_alone():
    x = torch.tensor([0.3, 1.6], requires_grad=True)
    (straight_through(x * 5, x.square()) * torch.tensor([1.0, 10.0])).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.6, 32.0]))
