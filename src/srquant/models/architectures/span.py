"""SPAN: Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024.

The re-parameterised network for inference. Works in [0, 1]. Keys: ``conv_1``, ``block_{i}.{c1_r,c2_r,c3_r}``,
``conv_2`` (in checkpoints each with ``.eval_conv``), ``conv_cat``, ``upsampler.0``; ``i`` counts from 1. Checkpoints
in the form for training have three convolutions ``.conv.{0,1,2}`` in a row and ``.sk`` beside them instead; they are
folded into one. With the key ``no_norm`` no mean colour is subtracted.
"""

import math
import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.models.blocks.layers import Add, conv, mean_shift, mean_shift_weights
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, rename
from srquant.models.network import Facts


class AttentionBlock(nn.Module):
    """``(x + y) * (sigmoid(y) - 0.5)``, where ``y`` is the result of three convolutions of ``x``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.c1_r = conv(features, features)
        self.c2_r = conv(features, features)
        self.c3_r = conv(features, features)
        self.act1 = nn.SiLU()
        self.add = Add()
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``N x F x H x W`` to the output and the first activation, both of that shape."""
        first = self.act1(self.c1_r(x))
        y = self.c3_r(self.act1(self.c2_r(first)))
        return self.add(x, y) * (self.sigmoid(y) - 0.5), first


class SPAN(nn.Module):
    """The network; takes and returns RGB in [0, 1]."""

    def __init__(self, blocks: int = 6, features: int = 28, scale: int = 4, fused: int = 20) -> None:
        super().__init__()
        self.names = [f"block_{i + 1}" for i in range(blocks)]
        self.sub_mean = mean_shift(1.0, -1)
        self.conv_1 = conv(3, features)
        for name in self.names:
            self.add_module(name, AttentionBlock(features))
        self.conv_2 = conv(features, features)
        self.conv_cat = conv(4 * features, fused, 1)
        self.upsampler = nn.Sequential(conv(fused, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        shallow = self.conv_1(self.sub_mean(images))
        first, inner = self.get_submodule(self.names[0])(shallow)
        x = first
        for name in self.names[1:]:
            x, inner = self.get_submodule(name)(x)
        fused = self.conv_cat(torch.cat([shallow, self.conv_2(x), first, inner], 1))
        upscaled: Tensor = self.upsampler(fused)
        return upscaled


def facts(blocks: int = 6, features: int = 28, scale: int = 4, fused: int = 20) -> Facts:
    """Facts of ``SPAN`` with the same arguments."""
    return Facts(
        architecture="span",
        arguments={"blocks": blocks, "features": features, "scale": scale, "fused": fused},
        scale=scale,
        value_range=1.0,
        head=("conv_1",),
        tail=("upsampler.0",),
        features=tuple(f"block_{i + 1}.c3_r" for i in range(blocks)),
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    return {
        "blocks": count(weights, r"block_\d+\.c1_r\.weight"),
        "features": weights["conv_1.weight"].shape[0],
        "scale": math.isqrt(weights["upsampler.0.weight"].shape[0] // 3),
        "fused": weights["conv_cat.weight"].shape[0],
    }


def from_official(weights: Weights, scale: int | None) -> Weights:
    """Remove ``eval_conv``; multiply the first convolution by 255, as the official code does with its input."""
    renamed = rename(weights, (r"\.eval_conv\.", "."))
    shift = {name: value for name, value in mean_shift_weights(1.0).items() if name.startswith("sub_mean")}
    if renamed.pop("no_norm", None) is not None:
        return renamed | shift | {"sub_mean.bias": torch.zeros(3)}
    renamed["conv_1.weight"] = 255.0 * renamed["conv_1.weight"]
    return renamed | shift


def from_training(weights: Weights, scale: int | None) -> Weights:
    """Fold the branches of each convolution; ``eval_conv``, which may be older than they are, is left out."""
    folded = {n: t for n, t in weights.items() if not re.search(r"\.(sk|eval_conv|conv\.\d)\.(weight|bias)$", n)}
    for name in [name.removesuffix(".sk.weight") for name in weights if name.endswith(".sk.weight")]:
        folded[f"{name}.weight"], folded[f"{name}.bias"] = fold_branches(weights, name)
    return from_official(folded, scale)


def fold_branches(weights: Weights, name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of the 3x3 convolution that equals 1x1, 3x3 and 1x1 in a row plus a 1x1 beside them."""
    first, middle, last = (weights[f"{name}.conv.{i}.weight"] for i in range(3))
    into, between, out = (weights[f"{name}.conv.{i}.bias"] for i in range(3))
    weight = torch.einsum("om,mnhw,ni->oihw", last[..., 0, 0], middle, first[..., 0, 0])
    bias = last[..., 0, 0] @ (torch.einsum("mnhw,n->m", middle, into) + between) + out
    beside = F.pad(weights[f"{name}.sk.weight"], (1, 1, 1, 1))
    return weight + beside, bias + weights[f"{name}.sk.bias"]


ARCHITECTURE = Architecture(
    name="span",
    module=SPAN,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(keys=("conv_1.sk.weight", "conv_cat.weight", "upsampler.0.weight"), convert=from_training),
        Layout(keys=("conv_1.eval_conv.weight", "conv_cat.weight", "upsampler.0.weight"), convert=from_official),
    ),
)
