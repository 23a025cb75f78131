"""ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016) under torchvision's keys.

Each ReLU is a separate module, so that it can be replaced: ``relu``, ``layer{1..4}.{0,1}.relu{1,2}``.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from srquant.errors import CheckpointError
from srquant.models.checkpoint import read_weights
from srquant.models.fold_batch_norms import fold, folded_into
from srquant.models.layout import Weights
from srquant.models.load import load_strictly

WIDTH, CLASSES = 64, 1000
"""Channels of the stem and number of classes of the network for ImageNet."""


class BasicBlock(nn.Module):
    """``relu2(bn2(conv2(relu1(bn1(conv1(x))))) + shortcut(x))``."""

    def __init__(self, inputs: int, outputs: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, 3, stride, batch_norm)
        self.bn1 = _norm(outputs, batch_norm)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv(outputs, outputs, 3, 1, batch_norm)
        self.bn2 = _norm(outputs, batch_norm)
        self.relu2 = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride, batch_norm), _norm(outputs, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        """``N x C x H x W`` to ``N x C' x H/stride x W/stride``."""
        inner = self.relu1(self.bn1(self.conv1(x)))
        total: Tensor = self.relu2(self.bn2(self.conv2(inner)) + self.downsample(x))
        return total


class ResNet18(nn.Module):
    """Stem, four stages of two blocks, linear classifier.

    Args:
        width: channels of the stem; the stages have 1, 2, 4 and 8 times as many.
        classes: number of outputs.
        batch_norm: whether there are batch norms; without them convolutions have biases.
    """

    def __init__(self, width: int = WIDTH, classes: int = CLASSES, batch_norm: bool = True) -> None:
        super().__init__()
        self.width, self.classes = width, classes
        self.conv1 = _conv(3, width, 7, 2, batch_norm)
        self.bn1 = _norm(width, batch_norm)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(width, width, 1, batch_norm)
        self.layer2 = _stage(width, 2 * width, 2, batch_norm)
        self.layer3 = _stage(2 * width, 4 * width, 2, batch_norm)
        self.layer4 = _stage(4 * width, 8 * width, 2, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB ``N x 3 x H x W`` to logits ``N x classes``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def load_resnet18(path: Path) -> ResNet18:
    """A ResNet-18 from a file of weights under torchvision's keys; width and classes follow from their shapes.

    Raises:
        CheckpointError: not such a file, a key is missing or unexpected, or a shape differs.
    """
    weights = read_weights(path)
    if "conv1.weight" not in weights or "fc.weight" not in weights:
        raise CheckpointError(f"{path}: has no conv1.weight or fc.weight; give a ResNet-18 with torchvision's keys")
    network = ResNet18(weights["conv1.weight"].shape[0], weights["fc.weight"].shape[0])
    load_strictly(network, weights)
    return network.eval()


@torch.no_grad()
def folded(network: ResNet18) -> ResNet18:
    """A copy with batch norms folded into the convolutions, in evaluation mode, on the same device."""
    norms = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    weights: Weights = {n: t for n, t in network.state_dict().items() if n.rpartition(".")[0] not in norms}
    for name, norm in norms.items():
        target = folded_into(name).removeprefix(".")
        weights |= fold(target, network.get_parameter(f"{target}.weight"), norm)
    result = ResNet18(network.width, network.classes, batch_norm=False).to(network.fc.weight.device)
    load_strictly(result, weights)
    return result.eval().requires_grad_(False)


def blocks(network: ResNet18) -> list[str]:
    """Names of the eight residual blocks in their order."""
    return [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]


def _stage(inputs: int, outputs: int, stride: int, batch_norm: bool) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, batch_norm)
    return nn.Sequential(OrderedDict({"0": first, "1": BasicBlock(outputs, outputs, 1, batch_norm)}))


def _conv(inputs: int, outputs: int, kernel: int, stride: int, batch_norm: bool) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not batch_norm)


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
