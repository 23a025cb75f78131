"""What the networks promise: graphs that can be traced, any size, batch norms that fold, windows that tile."""

import pytest
import torch
from torch import fx, nn

from srquant.errors import PolicyError
from srquant.models.blocks.rectangles import merge, split
from srquant.models.blocks.swin_layers import relative_positions
from srquant.models.blocks.window_steps import Mirror, shift_mask
from srquant.models.load import build
from srquant.models.wrap import wrap

TRACEABLE = ["edsr", "srresnet", "msrresnet", "rdn", "carn", "rnet", "rlfn", "rfdn", "span", "compact", "rrdbnet"]
SMALL = {
    "edsr": {"blocks": 2, "features": 8, "res_scale": 0.1},
    "srresnet": {"blocks": 2, "features": 8},
    "msrresnet": {"blocks": 2, "features": 8},
    "rdn": {"blocks": 2, "layers": 2, "growth": 4, "features": 8},
    "carn": {"features": 8, "groups": 4, "shared": True},
    "rnet": {"blocks": 2, "features": 8},
    "rlfn": {"features": 8},
    "rfdn": {"features": 8},
    "span": {"features": 8},
    "compact": {"convolutions": 3, "features": 8},
    "rrdbnet": {"blocks": 1, "features": 8, "growth": 4},
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16},
    "imdtn": {"features": 16, "hidden": 32},
    "dat": {"depths": [3], "heads": 2, "features": 16, "hidden": 16, "window": [4, 8]},
}


@pytest.mark.parametrize("architecture", TRACEABLE)
def test_trace_is_the_network_at_any_size(architecture):
    network = build(architecture, SMALL[architecture])
    traced = fx.symbolic_trace(network)
    for shape in ((1, 3, 20, 23), (2, 3, 17, 16)):
        images = torch.rand(shape)
        with torch.inference_mode():
            assert torch.equal(traced(images), network(images))


@pytest.mark.parametrize("architecture", SMALL)
def test_output_has_the_scale(architecture):
    network = build(architecture, SMALL[architecture])
    with torch.inference_mode():
        upscaled = network(torch.rand(2, 3, 19, 17))
    assert upscaled.shape == (2, 3, 19 * network.facts.scale, 17 * network.facts.scale)


@pytest.mark.parametrize("architecture", ["edsr", "carn", "swinir", "imdtn", "dat", "compact"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5)])
def test_tiny_pictures(architecture, shape):
    network = build(architecture, SMALL[architecture])
    with torch.inference_mode():
        assert network(torch.rand(1, 3, *shape)).isfinite().all()


def test_windows_come_back_to_their_place():
    x = torch.rand(2, 12, 18, 5)
    assert torch.equal(merge(split(x, (6, 6)), (6, 6), (2, 3)), x)
    assert torch.equal(split(x, (6, 6))[1], x[0, :6, 6:12].reshape(36, 5))


def test_relative_positions_depend_on_the_offset_only():
    index = relative_positions(3)
    assert index[4, 4] == 12
    assert index[0, 1] == index[4, 5] == 11
    assert sorted(index.unique()) == list(range(25))


def test_shift_mask_hides_what_was_not_adjacent():
    position = torch.arange(8 * 8).view(8, 8)
    rolled = torch.roll(position, (-2, -2), (0, 1))
    windows = split(rolled[None, :, :, None], (4, 4))[..., 0]
    row, column = windows // 8, windows % 8
    apart = ((row[:, :, None] - row[:, None]).abs() >= 4) | ((column[:, :, None] - column[:, None]).abs() >= 4)
    assert torch.equal(shift_mask(8, 8, 4, 2), apart * -100.0)


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7])
def test_mirror_extends_to_the_next_multiple(size):
    row = torch.arange(size)
    expected = torch.cat([row, row.flip(0)] * 7)[: (size // 6 + 1) * 6]
    mirrored = Mirror(6)(row.view(1, 1, 1, size).expand(1, 1, size, size))
    assert torch.equal(mirrored[0, 0, -1], expected)


def test_wrapping_any_module():
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
    network = wrap(module, 2, features=("1",))
    assert (network.facts.head, network.facts.tail, network.facts.features) == (("0",), ("2",), ("1",))
    images = torch.rand(1, 3, 4, 4)
    assert torch.equal(network(images), module(images))
    assert torch.allclose(wrap(module, 2, value_range=255.0)(images), module(images * 255) / 255)


def test_wrapping_a_module_without_layers():
    with pytest.raises(PolicyError, match="no Conv2d or Linear"):
        wrap(nn.ReLU(), 2)


def test_wrapping_with_a_wrong_name():
    with pytest.raises(PolicyError, match=r"no module 'body\.0'; did you mean"):
        wrap(nn.ModuleDict({"body0": nn.Conv2d(3, 3, 1)}), 2, head=("body.0",))
