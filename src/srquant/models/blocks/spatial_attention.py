"""Enhanced spatial attention of efficient networks: Liu et al., "Residual Feature Aggregation Network", CVPR 2020.

The mask is computed at about a sixth of the resolution, so the receptive field is large and tiles don't give
exactly the untiled result. Needs at least 15 x 15 pixels.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from srquant.models.blocks.layers import Add, conv


class SpatialAttention(nn.Module):
    """``x * sigmoid(mask(x))``; keys ``conv1``, ``conv_f``, ``conv2``, ``conv3``, ``conv4``, and more if ``deep``.

    Args:
        features: channels of the input.
        channels: channels of the mask's convolutions.
        deep: three convolutions at the low resolution, ``conv_max``, ``conv3`` and ``conv3_`` (RFDN); else only
            ``conv3`` (RLFN).
    """

    def __init__(self, features: int, channels: int, deep: bool) -> None:
        super().__init__()
        self.deep = deep
        self.conv1 = conv(features, channels, 1)
        self.conv_f = conv(channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=2)
        self.pool = nn.MaxPool2d(7, stride=3)
        if deep:
            self.conv_max = conv(channels, channels)
            self.conv3_ = conv(channels, channels)
            self.relu = nn.ReLU()
        self.conv3 = conv(channels, channels)
        self.add = Add()
        self.conv4 = conv(channels, features, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """``N x F x H x W`` to the same."""
        narrow = self.conv1(x)
        low = self.pool(self.conv2(narrow))
        if self.deep:
            low = self.relu(self.conv_max(low))
        low = self.conv3(low)
        if self.deep:
            low = self.conv3_(self.relu(low))
        back = F.interpolate(low, size=x.shape[2:], mode="bilinear", align_corners=False)
        mask: Tensor = self.sigmoid(self.conv4(self.add(back, self.conv_f(narrow))))
        return x * mask
