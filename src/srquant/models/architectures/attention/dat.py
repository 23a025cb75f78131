"""DAT: Chen et al., "Dual Aggregation Transformer for Image Super-Resolution", ICCV 2023. Works in [0, 1].

Official keys: ``conv_first``, ``before_RG.1``, ``layers.{i}.blocks.{j}.{norm1,attn,norm2,ffn}.*``, ``layers.{i}.conv``,
``norm``, ``conv_after_body``, and ``upsample.0`` (light), or ``conv_before_upsample.0``, ``upsample.{0,2}``,
``conv_last``. Two computations in them don't depend on the picture, and are done once, when a checkpoint is loaded:
batch norms are folded into the convolutions before them, and the MLPs that make the biases of relative positions become
tables, ``attns.{0,1}.position_bias.table``.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from srquant.models.blocks.dual_aggregation import (
    AdaptiveAttention,
    AggregationBlock,
    ChannelAttention,
    SpatialAttention,
)
from srquant.models.blocks.layers import Add, conv, mean_shift, mean_shift_weights, upsampler, upsampler_convs
from srquant.models.blocks.position_bias import table_of_mlp
from srquant.models.blocks.rectangles import Size
from srquant.models.fold_batch_norms import without_batch_norms
from srquant.models.layout import Architecture, Arguments, Layout, Weights, count, rename, upscaling
from srquant.models.network import Facts

WIDTH = 64
"""Channels of the upsampler of the networks that are not light."""

WINDOW = (8, 32)
"""Height and width of the windows where a checkpoint doesn't tell: those of DAT, DAT-2 and DAT-light."""

COMPUTED = (".rpe_biases", ".relative_position_index", ".attn_mask_0", ".attn_mask_1", ".num_batches_tracked")
"""Ends of the names of what official checkpoints store but sizes determine, and of counters of batch norms."""


@dataclass(frozen=True)
class BlockSizes:
    """What all blocks share; the arguments of ``DAT`` say what they are."""

    features: int
    heads: int
    window: Size
    hidden: int
    bottleneck: bool
    split_qkv: bool


class ResidualGroup(nn.Module):
    """``x + conv(blocks(x))``; ``number`` is its place among the groups, from 0."""

    def __init__(self, number: int, depth: int, sizes: BlockSizes) -> None:
        super().__init__()
        attention = (attention_of(number, block, sizes) for block in range(depth))
        self.blocks = nn.Sequential(*(AggregationBlock(sizes.features, each, sizes.hidden) for each in attention))
        self.conv = last_conv(sizes.features, sizes.bottleneck)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """``N x H x W x C`` to the same."""
        y = self.conv(self.blocks(x).permute(0, 3, 1, 2))
        total: Tensor = self.add(x, y.permute(0, 2, 3, 1))
        return total


def attention_of(group: int, block: int, sizes: BlockSizes) -> AdaptiveAttention:
    """The attention of a block; groups and their blocks count from 0.

    Blocks 0, 2, 4, ... attend inside windows. Of these, every second one moves the picture by half a window: 2, 6, ...
    in groups of even number, 0, 4, ... in the others.
    """
    if block % 2:
        return ChannelAttention(sizes.features, sizes.heads, sizes.split_qkv)
    shifted = block // 2 % 2 != group % 2
    return SpatialAttention(sizes.features, sizes.heads, sizes.window, shifted, sizes.split_qkv)


def last_conv(features: int, bottleneck: bool) -> nn.Module:
    """The convolution before a skip connection, or three with a quarter of the channels between them."""
    if not bottleneck:
        return conv(features, features)
    narrow = features // 4
    first, second, third = conv(features, narrow), conv(narrow, narrow, 1), conv(narrow, features)
    return nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), third)


class DAT(nn.Module):
    """The network; takes and returns RGB in [0, 1]. The defaults are DAT-light.

    Args:
        depths: blocks of each residual group.
        heads: attention heads, even.
        features: channels, a multiple of ``heads`` and at least 16, as the narrowest layer has a sixteenth of them.
        scale: upscaling factor.
        window: height and width of the windows of half of the channels; the other half exchanges them.
        hidden: channels inside the MLPs, even.
        bottleneck: whether three convolutions with fewer channels stand where others have one (``3conv``).
        light: whether the upsampler is a single convolution.
        split_qkv: three linear layers for queries, keys and values instead of one.
    """

    def __init__(
        self,
        depths: list[int] | tuple[int, ...] = (18,),
        heads: int = 6,
        features: int = 60,
        scale: int = 4,
        window: list[int] | tuple[int, ...] = WINDOW,
        hidden: int = 120,
        bottleneck: bool = True,
        light: bool = True,
        split_qkv: bool = False,
    ) -> None:
        super().__init__()
        if heads % 2 or features % heads or features < 16:
            raise ValueError(f"features {features} must be a multiple of heads, {heads}, and at least 16; heads even")
        self.light = light
        height, width = window
        self.sub_mean = mean_shift(1.0, -1)
        self.conv_first = conv(3, features)
        self.before_RG = nn.Sequential(nn.Identity(), nn.LayerNorm(features))
        sizes = BlockSizes(features, heads, (height, width), hidden, bottleneck, split_qkv)
        self.layers = nn.Sequential(*(ResidualGroup(i, depth, sizes) for i, depth in enumerate(depths)))
        self.norm = nn.LayerNorm(features)
        self.conv_after_body = last_conv(features, bottleneck)
        self.add = Add()
        if light:
            self.upsample = nn.Sequential(conv(features, 3 * scale**2), nn.PixelShuffle(scale))
        else:
            self.conv_before_upsample = nn.Sequential(conv(features, WIDTH), nn.LeakyReLU())
            self.upsample = upsampler(scale, WIDTH)
            self.conv_last = conv(WIDTH, 3)
        self.add_mean = mean_shift(1.0, +1)

    def forward(self, images: Tensor) -> Tensor:
        """``N x 3 x H x W`` to ``N x 3 x scale*H x scale*W``."""
        x = self.conv_first(self.sub_mean(images))
        tokens = self.norm(self.layers(self.before_RG(x.permute(0, 2, 3, 1))))
        x = self.add(x, self.conv_after_body(tokens.permute(0, 3, 1, 2)))
        x = self.upsample(x) if self.light else self.conv_last(self.upsample(self.conv_before_upsample(x)))
        upscaled: Tensor = self.add_mean(x)
        return upscaled


def facts(
    depths: list[int] | tuple[int, ...] = (18,),
    heads: int = 6,
    features: int = 60,
    scale: int = 4,
    window: list[int] | tuple[int, ...] = WINDOW,
    hidden: int = 120,
    bottleneck: bool = True,
    light: bool = True,
    split_qkv: bool = False,
) -> Facts:
    """Facts of ``DAT`` with the same arguments."""
    arguments: Arguments = {"depths": list(depths), "heads": heads, "features": features, "scale": scale}
    arguments |= {"window": list(window), "hidden": hidden, "bottleneck": bottleneck}
    classical = ("conv_before_upsample.0", *upsampler_convs("upsample", scale), "conv_last")
    groups = tuple(f"layers.{i}" for i in range(len(depths)))
    return Facts(
        architecture="dat",
        arguments=arguments | {"light": light, "split_qkv": split_qkv},
        scale=scale,
        value_range=1.0,
        head=("conv_first",),
        tail=("upsample.0",) if light else classical,
        features=groups,
        tiles_exactly=False,
        blocks=groups,
    )


def infer(weights: Weights) -> Arguments:
    """Arguments from shapes."""
    groups = count(weights, r"layers\.\d+\.conv(\.0)?\.weight")
    first = "layers.0.blocks.0"
    table = weights[f"{first}.attn.attns.0.position_bias.table"]
    light = "conv_last.weight" not in weights
    return {
        "depths": [count(weights, rf"layers\.{i}\.blocks\.\d+\.norm1\.weight") for i in range(groups)],
        "heads": 2 * table.shape[0],
        "features": weights["conv_first.weight"].shape[0],
        "scale": upscaling(weights, 3 if light else WIDTH, "upsample.0", "upsample.2", "upsample.4"),
        "window": [(length + 1) // 2 for length in table.shape[1:]],
        "hidden": weights[f"{first}.ffn.fc1.weight"].shape[0],
        "bottleneck": "conv_after_body.0.weight" in weights,
        "light": light,
    }


def from_official(weights: Weights, scale: int | None) -> Weights:
    """Fold batch norms and MLPs of positions, drop what is computed from sizes, add the mean shifts."""
    mlps = [name.removesuffix(".pos_proj.weight") for name in weights if name.endswith(".pos.pos_proj.weight")]
    tables = {
        f"{name.removesuffix('.pos')}.position_bias.table": table_of_mlp(weights, name, window_of(weights, name))
        for name in mlps
    }
    kept = {n: tensor for n, tensor in weights.items() if not n.endswith(COMPUTED) and ".pos." not in n}
    layers = rename(
        without_batch_norms(kept),
        (r"\.channel_interaction\.4\.", ".channel_interaction.3."),
        (r"\.spatial_interaction\.3\.", ".spatial_interaction.2."),
    )
    return layers | tables | mean_shift_weights(1.0)


def window_of(weights: Weights, mlp: str) -> Size:
    """Height and width of the windows that an MLP of positions belongs to.

    Args:
        weights: in the official layout, with or without ``rpe_biases``: all offsets, ending with the largest.
        mlp: name that ends in ``attns.0.pos``, or, if height and width are exchanged, ``attns.1.pos``.
    """
    offsets = weights.get(f"{mlp.removesuffix('.pos')}.rpe_biases")
    if offsets is not None:
        height, width = (int(largest) + 1 for largest in offsets[-1])
        return height, width
    height, width = WINDOW
    return (width, height) if mlp.endswith(".1.pos") else WINDOW


OFFICIAL = ("conv_first.weight", "before_RG.1.weight", "layers.0.blocks.0.attn.qkv.weight", "upsample.0.weight")
"""Names that official checkpoints and those of ``DAT`` share."""

ARCHITECTURE = Architecture(
    name="dat",
    module=DAT,
    facts=facts,
    infer=infer,
    layouts=(
        Layout(keys=(*OFFICIAL, "layers.0.blocks.0.attn.attns.0.position_bias.table")),
        Layout(keys=(*OFFICIAL, "layers.0.blocks.0.attn.attns.0.pos.pos_proj.weight"), convert=from_official),
    ),
)
