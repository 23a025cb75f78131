"""Head and tail are found by the way of the picture, not by the order of definition."""

import pytest
import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.models.load import build
from srquant.models.wrap import wrap

SMALL = {
    "edsr": {"blocks": 2, "features": 8, "scale": 4},
    "srresnet": {"blocks": 2, "features": 8, "scale": 4},
    "carn": {"features": 8, "scale": 2},
    "rdn": {"blocks": 2, "layers": 2, "growth": 4, "features": 8, "scale": 3},
    "compact": {"convolutions": 4, "features": 8, "scale": 4},
    "rrdbnet": {"blocks": 1, "features": 8, "growth": 4, "scale": 4},
}


@pytest.mark.parametrize("architecture", SMALL)
def test_ends_of_known_networks_are_found(architecture):
    known = build(architecture, SMALL[architecture])
    found = wrap(known.module, known.facts.scale, known.facts.value_range).facts
    expected = {"rdn": ("SFENet1",)}.get(architecture, known.facts.head)  # RDN's second convolution counts as head too
    assert found.head == expected
    assert found.tail == known.facts.tail


class ShiftsDefinedFirst(nn.Module):
    """As RCAN: the shifts of the colours are 1x1 convolutions, and both are defined before everything else."""

    def __init__(self) -> None:
        super().__init__()
        self.sub_mean, self.add_mean = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1))
        self.tail = nn.Sequential(nn.Conv2d(8, 32, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(8, 3, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.add_mean(self.tail(self.body(self.head(self.sub_mean(images)))))


def test_shifts_of_colours_belong_to_the_ends():
    facts = wrap(ShiftsDefinedFirst(), 2).facts
    assert facts.head == ("sub_mean", "head")
    assert facts.tail == ("tail.0", "tail.2", "add_mean")


def test_names_that_are_given_are_taken():
    facts = wrap(ShiftsDefinedFirst(), 2, head=("head",), tail=()).facts
    assert (facts.head, facts.tail) == (("head",), ())


def test_a_network_of_three_channels_keeps_a_body():
    facts = wrap(nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))), 1).facts
    assert (facts.head, facts.tail) == (("0",), ("2",))


def test_the_module_stays_as_it_was():
    module = ShiftsDefinedFirst().train()
    module.body[1].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    wrap(module, 2)
    assert module.training
    assert not module.body[1].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_module_that_upscales_by_another_factor():
    with pytest.raises(PolicyError, match=r"makes shape \(1, 3, 64, 64\).*not \(1, 3, 96, 96\): check the scale, 3"):
        wrap(ShiftsDefinedFirst(), 3)


def test_a_module_that_gives_several_pictures():
    class Two(ShiftsDefinedFirst):
        def forward(self, images):
            return super().forward(images), images

    with pytest.raises(PolicyError, match="makes a tuple of a picture"):
        wrap(Two(), 2)


def test_sizes_that_a_module_needs():
    module = nn.Sequential(
        nn.PixelUnshuffle(5), nn.Conv2d(75, 8, 3, padding=1), nn.Conv2d(8, 75, 1), nn.PixelShuffle(5)
    )
    with pytest.raises(PolicyError, match=r"can't upscale a picture of 32x32 pixels .*multiple_of and smallest"):
        wrap(module, 1)
    assert wrap(module, 1, multiple_of=5).facts.head == ("1",)


class Noisy(ShiftsDefinedFirst):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images + torch.rand_like(images))


class DropoutStaysOn(ShiftsDefinedFirst):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(images))


@pytest.mark.parametrize("make", [Noisy, DropoutStaysOn])
def test_modules_that_are_not_deterministic_are_refused(make):
    with pytest.raises(PolicyError, match=f"{make.__name__} makes another picture .* dropout"):
        wrap(make(), 2)


def test_statistics_of_the_batch_are_refused():
    module = ShiftsDefinedFirst()
    module.body[1] = nn.BatchNorm2d(8, track_running_stats=False)
    with pytest.raises(PolicyError, match=r"layer 'body.1' normalises .*track_running_stats=True"):
        wrap(module, 2)


def test_a_module_that_computes_in_place_leaves_the_picture():
    class InPlace(ShiftsDefinedFirst):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.mul_(2))

    network, images = wrap(InPlace(), 2), torch.rand(1, 3, 8, 8)
    before = images.clone()
    network(images)
    assert torch.equal(images, before)


class PositionBias(ShiftsDefinedFirst):
    """A layer computes biases from positions, whatever the picture is."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = images.shape[2:]
        grid = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), -1).float()
        return super().forward(images + self.positions(grid / 64).squeeze(-1))


def test_layers_that_no_picture_enters_are_left_out():
    facts = wrap(PositionBias(), 2).facts
    assert facts.unused == ("positions.0", "positions.2")
    assert facts.head == ("sub_mean", "head")


def test_a_layer_that_a_picture_enters_at_its_second_call_is_no_constant():
    class Shared(PositionBias):
        def forward(self, images: Tensor) -> Tensor:
            upscaled = super().forward(images)
            return upscaled + self.positions[2](upscaled.mean((1, 2, 3)).expand(4))

    assert wrap(Shared(), 2).facts.unused == ("positions.0",)
