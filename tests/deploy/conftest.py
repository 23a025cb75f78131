"""Frozen networks made directly, without a method: any bits, ranges from one random picture."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from srquant.deploy.file.save_load import checksum
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.frozen.sums import FrozenAdd
from srquant.grids.range_rules import minmax
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.models.blocks.layers import Add
from srquant.models.load import build
from srquant.models.network import Network

QUANTIZED = (nn.Conv2d, nn.Linear, Add)


@pytest.fixture
def freeze_directly() -> Callable[..., Network]:
    def build(network: Network, weight_bits: int, activation_bits: int, skip: bool = False) -> Network:
        ranges = _ranges(network.eval())
        for name, module in list(network.module.named_modules()):
            if name in ranges:
                frozen = _frozen(module, *ranges[name], weight_bits, activation_bits, skip)
                network.module.set_submodule(name, frozen)
        return network

    return build


def _ranges(network: Network) -> dict[str, tuple[Tensor, Tensor]]:
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, module: nn.Module) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            quantized = output if isinstance(module, Add) else inputs[0]
            seen[name] = (quantized.min() * 0.95, quantized.max() * 0.95)

        hooks.append(module.register_forward_hook(hook))

    hooks: list[torch.utils.hooks.RemovableHandle] = []
    for name, module in network.module.named_modules():
        if isinstance(module, QUANTIZED):
            watch(name, module)
    with torch.no_grad():
        network(torch.rand(1, 3, 40, 40))
    for hook in hooks:
        hook.remove()
    return seen


def _frozen(
    module: nn.Module, lower: Tensor, upper: Tensor, weight_bits: int, activation_bits: int, skip: bool
) -> nn.Module:
    if isinstance(module, Add):
        return FrozenAdd(FrozenGrid(lower, upper, 256), module.scale) if skip else module
    grid = FrozenGrid(lower, upper, 2**activation_bits)
    weight = module.weight.detach()
    scale = weight.flatten(1).abs().amax(1) / (2 ** (weight_bits - 1) - 1) + 1e-9
    integers = (weight / scale.view(-1, *[1] * (weight.dim() - 1))).round().to(torch.int8)
    bias = None if module.bias is None else module.bias.detach()
    if isinstance(module, nn.Linear):
        return FrozenLinear(grid, integers, scale, bias, weight_bits)
    window = (module.stride, module.padding, module.dilation, module.groups)
    return FrozenConv2d(grid, integers, scale, bias, *window, weight_bits)


class ParallelConvs(nn.Module):
    """Frozen convolutions with one kind of window, side by side on four copies of the picture."""

    def __init__(self, kernel: int, stride: int, padding: int, dilation: int, generator: torch.Generator) -> None:
        super().__init__()
        window = ((stride, stride), (padding, padding), (dilation, dilation))
        self.convs = nn.ModuleList(
            _random_conv(bits, kernel, window, groups, generator) for bits in range(2, 9) for groups in (1, 4)
        )

    def forward(self, images: Tensor) -> Tensor:
        features = torch.cat([images, -images, images - 0.5, images * 3.0], dim=1)
        return torch.cat([conv(features) for conv in self.convs], dim=1)

    def images(self, height: int, width: int, generator: torch.Generator) -> Tensor:
        """Random pictures in which no value lies near the border between two codes of any grid."""
        images = torch.rand(2, 3, height, width, generator=generator)
        while (near := self._near_ties(images)).any():
            images = torch.where(near, torch.rand(images.shape, generator=generator), images)
        return images

    def _near_ties(self, images: Tensor) -> Tensor:
        near = torch.zeros_like(images, dtype=torch.bool)
        for grid in (conv.grid for conv in self.convs):
            for x in (images, -images, images - 0.5, images * 3.0):
                position = (x - grid.lower) / grid.step
                near |= ((position - position.floor()) - 0.5).abs() < 1e-3
        return near


def _random_conv(
    bits: int, kernel: int, window: tuple[tuple[int, int], ...], groups: int, generator: torch.Generator
) -> FrozenConv2d:
    largest = 2 ** (bits - 1) - 1
    weight = torch.randint(-largest, largest + 1, (8, 12 // groups, kernel, kernel), generator=generator)
    lower, length = torch.rand(2, generator=generator) * torch.tensor([2.0, 3.0]) + torch.tensor([-1.5, 0.2])
    scale = torch.rand(8, generator=generator) / (largest * 10) + 1e-4
    grid = FrozenGrid(lower, lower + length, 2**bits)
    bias = torch.randn(8, generator=generator)
    return FrozenConv2d(grid, weight.to(torch.int8), scale, bias, *window, groups, bits)


WINDOWS = {"3x3": (3, 1, 1, 1), "1x1": (1, 1, 0, 1), "5x5 strided": (5, 2, 2, 1), "dilated": (3, 1, 2, 2)}


@pytest.fixture(params=WINDOWS.values(), ids=WINDOWS.keys())
def parallel_convs(request: pytest.FixtureRequest) -> ParallelConvs:
    return ParallelConvs(*request.param, torch.Generator().manual_seed(1))


@pytest.fixture
def freeze_by_policy() -> Callable[[Network, Policy], FrozenModel]:
    """Min-max ranges of one random batch."""

    def frozen(network: Network, policy: Policy) -> FrozenModel:
        plan = resolve(network, policy)
        bounds = activation_bounds(network, plan, [torch.rand(2, 3, 16, 16)], Collection(minmax, None))
        quantized = insert_quantizers(network, plan, bounds, minmax)
        settle(quantized)
        return freeze(QuantizedModel(quantized, policy, Origin("minmax", {"momentum": 0.9, "clip": None}, "00ff")))

    return frozen


@pytest.fixture
def small_model(freeze_by_policy: Callable[[Network, Policy], FrozenModel]) -> FrozenModel:
    """An EDSR of five convolutions and two sums, with float mean shifts."""
    network = build("edsr", {"blocks": 1, "features": 8, "scale": 2})
    return freeze_by_policy(network, Policy(LayerBits(3, 4), skip_bits=8, activation_granularity="channel"))


@pytest.fixture
def upscaled() -> Callable[[FrozenModel], Tensor]:
    def run(model: FrozenModel) -> Tensor:
        images = torch.rand(1, 3, 17, 19, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            result: Tensor = model.network(images)
        return result

    return run


@pytest.fixture(scope="session")
def edited() -> Callable[[Path, Path, Callable[[dict, dict], object]], None]:
    """Writes a file whose header and tensors were altered, with a checksum that fits."""

    def write(source: Path, target: Path, change: Callable[[dict, dict], object]) -> None:
        with safe_open(source, "pt") as file:
            header = json.loads(file.metadata()["srquant"])
        tensors = load_file(source)
        tensors.pop("sha256")
        change(header, tensors)
        text = json.dumps(header)
        tensors["sha256"] = checksum(text, tensors)
        save_file(tensors, target, {"srquant": text})

    return write
