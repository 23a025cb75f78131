"""CARN and CARN-M: Ahn et al., "Fast, Accurate, and Lightweight Super-Resolution with CARN", ECCV 2018.

Works in [0, 1]. Keys as in CARN-pytorch: ``entry``, ``b{1,2,3}.b{1,2,3}.body.{0,2}``, ``b{1,2,3}.c{1,2,3}.body.0``,
``c{1,2,3}.body.0``, ``upsample.up.body.{0,3}``, ``exit``. CARN-M has groups, a third 1x1 convolution per residual unit,
and one unit ``b1`` that each block uses three times.
"""

import torch
from torch import Tensor, nn

from srquant.errors import CheckpointError
from srquant.models.blocks.layers import Add, MeanShift, conv, mean_shift
from srquant.models.layout import Architecture, Arguments, Layout, Weights, rename, upscaling
from srquant.models.network import Facts


class Shift(nn.Module):
    """A mean shift with the key ``shifter``; in the branches of ClassSR it is a learned 1x1 convolution."""

    def __init__(self, sign: int, learned: bool = False) -> None:
        super().__init__()
        self.shifter: MeanShift | nn.Conv2d = conv(3, 3, 1) if learned else mean_shift(1.0, sign)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to the same."""
        shifted: Tensor = self.shifter(images)
        return shifted


class ResidualUnit(nn.Module):
    """``relu(x + body(x))`` with two convolutions, or three if they are grouped."""

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(features, features, groups=groups), nn.ReLU()]
        layers += [conv(features, features, groups=groups)]
        if groups > 1:
            layers += [nn.ReLU(), conv(features, features, 1)]
        self.body = nn.Sequential(*layers)
        self.add = Add()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        total: Tensor = self.relu(self.add(x, self.body(x)))
        return total


class Fusion(nn.Module):
    """1x1 convolution and ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(in_channels, out_channels, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to ``N x F x H x W``."""
        fused: Tensor = self.body(x)
        return fused


class Cascade(nn.Module):
    """Three steps ``b``, each followed by a fusion ``c`` of the input and all results so far."""

    def __init__(self, steps: list[nn.Module], features: int) -> None:
        super().__init__()
        self.b1 = steps[0]
        if len(steps) > 1:
            self.b2, self.b3 = steps[1:]
        self.shared = len(steps) == 1
        self.c1, self.c2, self.c3 = (Fusion(n * features, features) for n in (2, 3, 4))

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        steps = [self.b1] * 3 if self.shared else [self.b1, self.b2, self.b3]
        seen, y = x, x
        for step, fusion in zip(steps, (self.c1, self.c2, self.c3), strict=True):
            seen = torch.cat([seen, step(y)], 1)
            y = fusion(seen)
        return y


class Upsampler(nn.Module):
    """Convolution, ReLU, pixel shuffle; twice for x4. Keys ``up.body.{0,3}``."""

    def __init__(self, scale: int, features: int, groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for factor in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
            layers += [conv(features, factor**2 * features, groups=groups), nn.ReLU(), nn.PixelShuffle(factor)]
        self.up = nn.ModuleDict({"body": nn.Sequential(*layers)})

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to ``N x F x scale*H x scale*W``."""
        upsampled: Tensor = self.up["body"](x)
        return upsampled


class CARN(Cascade):
    """The network, a cascade of cascades; takes and returns RGB in [0, 1].

    Args:
        features: channels.
        groups: groups of the 3x3 convolutions; more than 1 in CARN-M.
        shared: whether each block uses one residual unit three times, as CARN-M does.
        scale: 2, 3 or 4.
        learned_shift: whether the mean shifts are learned 1x1 convolutions.
    """

    def __init__(
        self, features: int = 64, groups: int = 1, shared: bool = False, scale: int = 4, learned_shift: bool = False
    ) -> None:
        def block() -> nn.Module:
            units: list[nn.Module] = [ResidualUnit(features, groups) for _ in range(1 if shared else 3)]
            return Cascade(units, features)

        super().__init__([block(), block(), block()], features)
        self.sub_mean = Shift(-1, learned_shift)
        self.add_mean = Shift(+1, learned_shift)
        self.entry = conv(3, features)
        self.upsample = Upsampler(scale, features, groups)
        self.exit = conv(features, 3)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        x = super().forward(self.entry(self.sub_mean(images)))
        upscaled: Tensor = self.add_mean(self.exit(self.upsample(x)))
        return upscaled


def facts(
    features: int = 64, groups: int = 1, shared: bool = False, scale: int = 4, learned_shift: bool = False
) -> Facts:
    """Facts of ``CARN`` with the same arguments."""
    shifts = ("sub_mean.shifter", "add_mean.shifter") if learned_shift else ()
    arguments: Arguments = {"features": features, "groups": groups, "shared": shared, "scale": scale}
    return Facts(
        architecture="carn",
        arguments=arguments | {"learned_shift": learned_shift},
        scale=scale,
        value_range=1.0,
        head=(*shifts[:1], "entry"),
        tail=(*(f"upsample.up.body.{3 * i}" for i in range(2 if scale == 4 else 1)), "exit", *shifts[1:]),
        features=("b1", "b2", "b3")
        if shared
        else tuple(f"b{block}.b{unit}" for block in (1, 2, 3) for unit in (1, 2, 3)),
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    features = weights["entry.weight"].shape[0]
    shift = weights["sub_mean.shifter.weight"]
    return {
        "features": features,
        "groups": features // weights["b1.b1.body.0.weight"].shape[1],
        "shared": "b1.b2.body.0.weight" not in weights,
        "scale": upscaling(weights, features, "upsample.up.body.0", "upsample.up.body.3"),
        "learned_shift": not torch.equal(shift, torch.eye(3).view_as(shift)),
    }


def one_scale(weights: Weights, scale: int | None) -> Weights:
    """Keep one of the upsamplers ``up2``, ``up3``, ``up4``: that of the wanted scale."""
    scales = [s for s in (2, 3, 4) if f"upsample.up{s}.body.0.weight" in weights]
    if scale is None and len(scales) > 1:
        raise CheckpointError(f"it upscales by {scales}; choose one with --scale or scale=")
    if scale is not None and scale not in scales:
        raise CheckpointError(f"it upscales by {scales}, not by {scale}")
    prefix = f"upsample.up{scale or scales[0]}."
    kept = {n: t for n, t in weights.items() if n.startswith(prefix) or not n.startswith("upsample.")}
    return rename(kept, (r"^upsample\.up\d\.", "upsample.up."))


def from_classsr(weights: Weights, scale: int | None) -> Weights:
    """Fold the batch norms: ``c{1,2,3}`` is a convolution ``0`` without bias and a Paddle batch norm ``1``."""
    fused = rename(weights, (r"^(sub_mean|add_mean)\.", r"\1.shifter."))
    for name in [n.removesuffix(".1._mean") for n in weights if n.endswith(".1._mean")]:
        norm = {key: fused.pop(f"{name}.1.{key}") for key in ("weight", "bias", "_mean", "_variance")}
        gain = norm["weight"] / torch.sqrt(norm["_variance"] + 1e-5)
        fused[f"{name}.body.0.weight"] = fused.pop(f"{name}.0.weight") * gain.view(-1, 1, 1, 1)
        fused[f"{name}.body.0.bias"] = norm["bias"] - gain * norm["_mean"]
    return fused


ARCHITECTURE = Architecture(
    name="carn",
    module=CARN,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(keys=("entry.weight", "b1.c1.body.0.weight", "upsample.up.body.0.weight")),
        Layout(keys=("entry.weight", "b1.c1.body.0.weight"), without=("upsample.up.body.0.weight",), convert=one_scale),
        Layout(keys=("entry.weight", "b1.c1.1._mean", "upsample.up.body.0.weight"), convert=from_classsr),
    ),
)
