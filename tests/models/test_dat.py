"""DAT under its official names, against a slow computation of what its authors' code does."""

import math
import sys
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.errors import CheckpointError
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.residual_graph import trace_residual_graph
from srquant.measure.quality.metrics import psnr_y
from srquant.models.blocks.layers import Add, Matmul
from srquant.models.checkpoint import read_weights
from srquant.models.layout import Weights
from srquant.models.load import build, load_model
from srquant.models.network import modules_of
from srquant.models.spandrel import import_spandrel

MEAN = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
TINY = {"depths": [4], "heads": 2, "features": 16, "hidden": 16, "window": [2, 4], "scale": 2}


@dataclass(frozen=True)
class Sizes:
    """Of an official network."""

    depths: tuple[int, ...]
    heads: int
    features: int
    window: tuple[int, int]
    hidden: int
    scale: int = 2
    light: bool = False
    bottleneck: bool = False


SIZES = {
    "light": Sizes((4,), 4, 32, (2, 4), 24, light=True, bottleneck=True),
    "groups": Sizes((2, 1, 3), 2, 16, (2, 4), 32, scale=4),
    "square windows": Sizes((1, 5), 2, 16, (3, 3), 8, scale=3, bottleneck=True),
}
PUBLISHED = {
    "DAT-light": Sizes((3,), 6, 60, (8, 32), 120, light=True, bottleneck=True),
    "DAT-S": Sizes((1, 1), 6, 180, (8, 16), 360, scale=4),
    "DAT": Sizes((2,), 6, 180, (8, 32), 720, scale=2),
    "DAT-2": Sizes((1, 1), 6, 180, (8, 32), 360, scale=3),
}
"""The authors' widths, with fewer blocks."""


class Official:
    """Random weights under the official names, those of one network."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.weights = sizes, {}
        features = sizes.features
        self.layer("conv_first", features, 3, 3, 3)
        self.layer("before_RG.1", features)
        for group, depth in enumerate(sizes.depths):
            for block in range(depth):
                self.block(f"layers.{group}.blocks.{block}", block)
            self.last_conv(f"layers.{group}.conv")
        self.layer("norm", features)
        self.last_conv("conv_after_body")
        self.upsampler()

    def layer(self, name: str, *shape: int) -> None:
        """A layer norm has one size, others have more; values keep the size of what they multiply."""
        spread = 1.0 if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
        self.weights[f"{name}.weight"] = torch.randn(shape) * spread
        self.weights[f"{name}.bias"] = torch.randn(shape[0]) * 0.3

    def conv_norm(self, name: str, number: int, *shape: int) -> None:
        conv, norm = f"{name}.{number}", f"{name}.{number + 1}"
        self.layer(conv, *shape)
        self.layer(norm, shape[0])
        self.weights[f"{norm}.running_mean"] = torch.randn(shape[0])
        self.weights[f"{norm}.running_var"] = torch.rand(shape[0]) + 0.3
        self.weights[f"{norm}.num_batches_tracked"] = torch.tensor(1000)

    def block(self, name: str, number: int) -> None:
        features, hidden = self.sizes.features, self.sizes.hidden
        for norm in ("norm1", "norm2"):
            self.layer(f"{name}.{norm}", features)
        self.layer(f"{name}.attn.qkv", 3 * features, features)
        self.layer(f"{name}.attn.proj", features, features)
        self.conv_norm(f"{name}.attn.dwconv", 0, features, 1, 3, 3)
        self.conv_norm(f"{name}.attn.channel_interaction", 1, features // 8, features, 1, 1)
        self.layer(f"{name}.attn.channel_interaction.4", features, features // 8, 1, 1)
        self.conv_norm(f"{name}.attn.spatial_interaction", 0, features // 16, features, 1, 1)
        self.layer(f"{name}.attn.spatial_interaction.3", 1, features // 16, 1, 1)
        self.layer(f"{name}.ffn.fc1", hidden, features)
        self.layer(f"{name}.ffn.sg.norm", hidden // 2)
        self.layer(f"{name}.ffn.sg.conv", hidden // 2, 1, 3, 3)
        self.layer(f"{name}.ffn.fc2", features, hidden // 2)
        if number % 2:
            self.weights[f"{name}.attn.temperature"] = torch.rand(self.sizes.heads, 1, 1) + 0.5
        else:
            for i, window in enumerate((self.sizes.window, self.sizes.window[::-1])):
                self.positions(f"{name}.attn.attns.{i}", window)

    def positions(self, name: str, window: tuple[int, int]) -> None:
        width, heads = max(self.sizes.features // 32, 1), self.sizes.heads // 2
        self.layer(f"{name}.pos.pos_proj", width, 2)
        for stage, outputs in (("pos1", width), ("pos2", width), ("pos3", heads)):
            self.layer(f"{name}.pos.{stage}.0", width)
            self.layer(f"{name}.pos.{stage}.2", outputs, width)
        offsets = product(*(range(1 - size, size) for size in window))
        self.weights[f"{name}.rpe_biases"] = torch.tensor(list(offsets), dtype=torch.float32)
        self.weights[f"{name}.relative_position_index"] = torch.zeros(math.prod(window), math.prod(window)).long()

    def last_conv(self, name: str) -> None:
        features, narrow = self.sizes.features, self.sizes.features // 4
        if self.sizes.bottleneck:
            self.layer(f"{name}.0", narrow, features, 3, 3)
            self.layer(f"{name}.2", narrow, narrow, 1, 1)
            self.layer(f"{name}.4", features, narrow, 3, 3)
        else:
            self.layer(name, features, features, 3, 3)

    def upsampler(self) -> None:
        features, scale = self.sizes.features, self.sizes.scale
        if self.sizes.light:
            self.layer("upsample.0", 3 * scale**2, features, 3, 3)
            return
        self.layer("conv_before_upsample.0", 64, features, 3, 3)
        for stage, factor in enumerate({2: [2], 3: [3], 4: [2, 2]}[scale]):
            self.layer(f"upsample.{2 * stage}", 64 * factor**2, 64, 3, 3)
        self.layer("conv_last", 3, 64, 3, 3)


class Reference:
    """The authors' network as a function of official weights: window by window, with all norms and MLPs."""

    def __init__(self, weights: Weights, sizes: Sizes) -> None:
        self.weights, self.sizes, self.biases = weights, sizes, {}

    def __call__(self, images: Tensor) -> Tensor:
        shallow = self.conv("conv_first", images - MEAN)
        x = self.norm("before_RG.1", shallow.permute(0, 2, 3, 1))
        for group, depth in enumerate(self.sizes.depths):
            y = x
            for number in range(depth):
                y = self.block(f"layers.{group}.blocks.{number}", y, group, number)
            x = x + self.last_conv(f"layers.{group}.conv", y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = shallow + self.last_conv("conv_after_body", self.norm("norm", x).permute(0, 3, 1, 2))
        return self.upsampled(x) + MEAN

    def parts(self, name: str) -> tuple[Tensor, Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.parts(name)
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=x.shape[1] // weight.shape[1])

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, *self.parts(name))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], *self.parts(name))

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        mean, variance = (self.weights[f"{name}.running_{kind}"] for kind in ("mean", "var"))
        return F.batch_norm(x, mean, variance, *self.parts(name))

    def block(self, name: str, x: Tensor, group: int, number: int) -> Tensor:
        normalised = self.norm(f"{name}.norm1", x)
        shifted = number % 4 == 0 if group % 2 else number % 4 == 2
        x = x + (self.by_channels(name, normalised) if number % 2 else self.by_windows(name, normalised, shifted))
        values, gates = F.gelu(self.linear(f"{name}.ffn.fc1", self.norm(f"{name}.norm2", x))).chunk(2, -1)
        gates = self.norm(f"{name}.ffn.sg.norm", gates).permute(0, 3, 1, 2)
        return x + self.linear(f"{name}.ffn.fc2", values * self.conv(f"{name}.ffn.sg.conv", gates).permute(0, 2, 3, 1))

    def by_windows(self, name: str, x: Tensor, shifted: bool) -> Tensor:
        qkv = self.linear(f"{name}.attn.qkv", x).chunk(3, -1)
        convolved = self.convolved(name, qkv[2])
        halves = []
        for i, window in enumerate((self.sizes.window, self.sizes.window[::-1])):
            half = [part.chunk(2, -1)[i] for part in qkv]
            halves.append(self.in_windows(f"{name}.attn.attns.{i}.pos", half, window, shifted))
        attended = torch.cat(halves, -1).permute(0, 3, 1, 2)
        return self.mixed(name, attended, convolved)

    def in_windows(self, mlp: str, qkv: list[Tensor], window: tuple[int, int], shifted: bool) -> Tensor:
        """Zeros make the sides multiples of the longer side of the window; then the picture is moved and cut."""
        batch, rows, columns, features = qkv[0].shape
        (height, width), side = window, max(window)
        down, right = (height // 2, width // 2) if shifted else (0, 0)
        add = (0, 0, 0, -columns % side, 0, -rows % side)
        q, k, v = (torch.roll(F.pad(part, add), (-down, -right), (1, 2)) for part in qkv)
        out = torch.zeros_like(q)
        for top, left in product(range(0, q.shape[1], height), range(0, q.shape[2], width)):
            place = slice(None), slice(top, top + height), slice(left, left + width)
            heads = [self.split(part[place].reshape(batch, -1, features)) for part in (q, k, v)]
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            around = 2 * (top + y.flatten() >= q.shape[1] - down) + (left + x.flatten() >= q.shape[2] - right)
            hidden = (around[:, None] != around[None]) * -100.0
            scores = heads[0] @ heads[1].mT * (features // (self.sizes.heads // 2)) ** -0.5
            scores = scores + self.bias(mlp, torch.stack([y.flatten(), x.flatten()], 1)) + hidden
            attended = (scores.softmax(-1) @ heads[2]).transpose(1, 2)
            out[place] = attended.reshape(batch, height, width, features)
        return torch.roll(out, (down, right), (1, 2))[:, :rows, :columns]

    def split(self, tokens: Tensor) -> Tensor:
        batch, number, features = tokens.shape
        heads = self.sizes.heads // 2
        return tokens.view(batch, number, heads, features // heads).transpose(1, 2)

    def bias(self, mlp: str, places: Tensor) -> Tensor:
        if mlp not in self.biases:
            x = self.linear(f"{mlp}.pos_proj", (places[:, None] - places[None]).float())
            for stage in ("pos1", "pos2", "pos3"):
                x = self.linear(f"{mlp}.{stage}.2", self.norm(f"{mlp}.{stage}.0", x).relu())
            self.biases[mlp] = x.permute(2, 0, 1)
        return self.biases[mlp]

    def by_channels(self, name: str, x: Tensor) -> Tensor:
        batch, rows, columns, features = x.shape
        parts = self.linear(f"{name}.attn.qkv", x).chunk(3, -1)
        convolved = self.convolved(name, parts[2])
        shape = batch, self.sizes.heads, features // self.sizes.heads, rows * columns
        q, k, v = (part.permute(0, 3, 1, 2).reshape(shape) for part in parts)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * self.weights[f"{name}.attn.temperature"]
        attended = (scores.softmax(-1) @ v).reshape(batch, features, rows, columns)
        return self.mixed(name, convolved, attended)

    def convolved(self, name: str, values: Tensor) -> Tensor:
        dwconv = f"{name}.attn.dwconv"
        return F.gelu(self.batch_norm(f"{dwconv}.1", self.conv(f"{dwconv}.0", values.permute(0, 3, 1, 2))))

    def mixed(self, name: str, by_channel: Tensor, by_pixel: Tensor) -> Tensor:
        channel, spatial = f"{name}.attn.channel_interaction", f"{name}.attn.spatial_interaction"
        pooled = F.gelu(self.batch_norm(f"{channel}.2", self.conv(f"{channel}.1", by_pixel.mean((2, 3), keepdim=True))))
        pixels = F.gelu(self.batch_norm(f"{spatial}.1", self.conv(f"{spatial}.0", by_channel)))
        gated = by_channel * self.conv(f"{channel}.4", pooled).sigmoid()
        gated = gated + by_pixel * self.conv(f"{spatial}.3", pixels).sigmoid()
        return self.linear(f"{name}.attn.proj", gated.permute(0, 2, 3, 1))

    def last_conv(self, name: str, x: Tensor) -> Tensor:
        if not self.sizes.bottleneck:
            return self.conv(name, x)
        x = F.leaky_relu(self.conv(f"{name}.0", x), 0.2)
        return self.conv(f"{name}.4", F.leaky_relu(self.conv(f"{name}.2", x), 0.2))

    def upsampled(self, x: Tensor) -> Tensor:
        if self.sizes.light:
            return F.pixel_shuffle(self.conv("upsample.0", x), self.sizes.scale)
        x = F.leaky_relu(self.conv("conv_before_upsample.0", x), 0.01)
        for stage, factor in enumerate({2: [2], 3: [3], 4: [2, 2]}[self.sizes.scale]):
            x = F.pixel_shuffle(self.conv(f"upsample.{2 * stage}", x), factor)
        return self.conv("conv_last", x)


def loaded(weights: Weights, folder):
    torch.save({"params": weights}, folder / "dat.pth")
    return load_model(folder / "dat.pth")


def relative_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.std())


@pytest.mark.parametrize("shape", [(8, 12), (7, 5), (1, 2)])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@torch.inference_mode()
def test_official_weights_compute_what_the_authors_code_does(sizes, shape, tmp_path):
    weights = Official(sizes).weights
    network, images = loaded(weights, tmp_path), torch.rand(2, 3, *shape)
    assert relative_difference(network(images), Reference(weights, sizes)(images)) < 1e-4


@pytest.mark.parametrize("sizes", PUBLISHED.values(), ids=PUBLISHED)
def test_sizes_are_found_in_the_weights(sizes, tmp_path):
    facts = loaded(Official(sizes).weights, tmp_path).facts
    assert (facts.architecture, facts.scale) == ("dat", sizes.scale)
    assert facts.arguments == {
        "depths": list(sizes.depths),
        "heads": sizes.heads,
        "features": sizes.features,
        "scale": sizes.scale,
        "window": list(sizes.window),
        "hidden": sizes.hidden,
        "bottleneck": sizes.bottleneck,
        "light": sizes.light,
        "split_qkv": False,
    }


@torch.inference_mode()
def test_what_sizes_determine_may_be_stored_or_not(tmp_path):
    sizes, images = replace(SIZES["light"], window=(8, 32)), torch.rand(1, 3, 9, 10)
    weights = Official(sizes).weights
    stored = weights | {f"layers.0.blocks.2.attn.attn_mask_{i}": torch.zeros(16, 256, 256) for i in (0, 1)}
    computed = ("rpe_biases", "relative_position_index")
    bare = {name: tensor for name, tensor in weights.items() if not name.endswith(computed)}
    first, second = loaded(stored, tmp_path), loaded(bare, tmp_path)
    assert first.facts == second.facts
    assert torch.equal(first(images), second(images))


def test_groups_with_different_heads_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    weights = Official(SIZES["groups"]).weights
    weights["layers.2.blocks.1.attn.temperature"] = torch.ones(4, 1, 1)
    with pytest.raises(CheckpointError, match=r"looks like dat, but it has wrong shapes: layers\.2\.blocks\.1\.attn"):
        loaded(weights, tmp_path)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("sizes", PUBLISHED.values(), ids=PUBLISHED)
@torch.inference_mode()
def test_spandrel_computes_the_same(sizes, tmp_path):
    try:
        import_spandrel()
    except ImportError as error:
        pytest.skip(f"needs the package spandrel ({error})")
    from spandrel.architectures.DAT import DAT

    weights = Official(sizes).weights
    theirs = DAT(
        embed_dim=sizes.features,
        split_size=list(sizes.window),
        depth=list(sizes.depths),
        num_heads=[sizes.heads] * len(sizes.depths),
        expansion_factor=sizes.hidden / sizes.features,
        upscale=sizes.scale,
        resi_connection="3conv" if sizes.bottleneck else "1conv",
        upsampler="pixelshuffledirect" if sizes.light else "pixelshuffle",
    ).eval()
    computed = ("rpe_biases", "relative_position_index", "attn_mask_0", "attn_mask_1")
    kept = {name: tensor for name, tensor in weights.items() if not name.endswith(computed)}
    missing, unexpected = theirs.load_state_dict(kept, strict=False)
    assert unexpected == []
    assert all(name.endswith(computed) for name in missing)
    images = torch.rand(1, 3, 17, 34)
    assert relative_difference(loaded(weights, tmp_path)(images), theirs(images)) < 1e-4


def tiny():
    network = build("dat", TINY)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def test_every_layer_and_product_can_be_quantized():
    plan = resolve(tiny(), Policy(LayerBits(4, 4), None, None, kinds=("linear", "matmul")))
    assert len(plan.layers) == 4 * 4
    assert len(plan.matmuls) == 2 * 4 + 2 * 2


def test_residual_sums_are_found():
    network = tiny()
    assert trace_residual_graph(network).reads == {"upsample.0": "add"}
    assert len(modules_of(network.module, Add)) == 3 * 4 + 2


def pixels(path, box=None):
    with Image.open(path) as image:
        return np.array(image.convert("RGB").crop(box) if box else image.convert("RGB"))


def as_batch(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0


@pytest.mark.parametrize("scale", [2, 4])
@torch.inference_mode()
def test_published_weights_compute_what_the_authors_code_does(scale, shared):
    path = shared / "weights" / "dat" / f"DAT_light_x{scale}_nobuf.pth"
    sizes = replace(PUBLISHED["DAT-light"], depths=(18,), scale=scale)
    box = (40, 30, 75, 50)
    low = pixels(shared / "data" / "Set5" / "LR_bicubic" / f"X{scale}" / f"butterflyx{scale}.png", box)
    expected = Reference(read_weights(path), sizes)(as_batch(low))
    assert (load_model(path)(as_batch(low)) - expected).abs().max() < 1e-4


@torch.inference_mode()
def test_published_weights_upscale_butterfly(shared):
    """29.29 dB; all of Set5 have 38.24 dB at x2 and 32.57 dB at x4, as published."""
    network = load_model(shared / "weights" / "dat" / "DAT_light_x4_nobuf.pth")
    low = pixels(shared / "data" / "Set5" / "LR_bicubic" / "X4" / "butterflyx4.png")
    upscaled = (network(as_batch(low))[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert psnr_y(upscaled, pixels(shared / "data" / "Set5" / "HR" / "butterfly.png"), 4) == pytest.approx(
        29.29, abs=0.01
    )


def test_light_network_has_72_linears_and_54_products():
    network = build("dat", {})
    assert len(modules_of(network.module, nn.Linear)) == 4 * 18
    assert len(modules_of(network.module, Matmul)) == 9 * 4 + 9 * 2
