"""A recorded step: nothing in it waits for the device, and it learns what an ordinary step learns."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from srquant.distillation.graph_step import stepper
from srquant.distillation.lessons import Lesson
from srquant.distillation.loop import Guards, adam, learn_only, loss_of
from srquant.distillation.recipes import distillation
from srquant.grids import uniform
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.distill.held_out import DISTANCE
from srquant.methods.distill.rates import own_size_rates

LOSS = distillation(0.0, DISTANCE)


class OneDevice(TorchDispatchMode):
    """Refuses operations that read tensors of several devices: copies from the CPU stop a recording."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        devices = {leaf.device.type for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        assert len(devices) <= 1, f"{func} reads {devices}"
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["tensor", "channel"])
def network(request, student):
    return student(Policy(LayerBits(4, 4), granularity=request.param, activation_granularity=request.param))


def lesson(device, seed=0):
    random = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    images = random[:2].contiguous(memory_format=torch.channels_last)
    return Lesson(images.to(device), torch.nn.functional.interpolate(random[1:], scale_factor=2).to(device), [])


def test_a_step_never_waits_for_the_device(network, monkeypatch):
    """The meta device has no numbers: asking for one fails."""
    monkeypatch.setattr(uniform, "ASYNCHRONOUS", ("meta",))
    rates = own_size_rates(network, 0.006, 0.001)
    guards = Guards(network)
    optimizer = adam(rates)
    learn_only(network, optimizer)
    network.to("meta")
    guards.narrowest = [(quantizer, narrowest.to("meta")) for quantizer, narrowest in guards.narrowest]
    with OneDevice():
        loss_of(network, lesson("meta"), LOSS).backward()
        guards()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_recorded_step_learns_as_an_ordinary_one(network):
    """Sums in another order on the device let the two drift apart, but not as far as they learn."""
    networks = [copy.deepcopy(network).cuda() for _ in range(3)]
    for copied, recorded in zip(networks, (True, False), strict=False):
        optimizer = adam(own_size_rates(copied, 0.006, 0.001), capturable=recorded)
        learn_only(copied, optimizer)
        take = stepper(copied, optimizer, LOSS, Guards(copied), recorded)
        for seed in range(8):
            take(lesson("cuda", seed))
        assert not recorded or take.graph is not None
    found, wanted, start = (torch.cat([p.detach().flatten() for p in n.parameters()]) for n in networks)
    assert (found - wanted).abs().mean() < 0.3 * (wanted - start).abs().mean()
