"""scikit-learn's digits for a ResNet-18: 8x8 grey pictures, enlarged to 32x32, a size that it accepts."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from srquant.classify.resnet import ResNet18

TRAIN_IMAGES = 1000
CLASSES = 10
PEAK = 16
"""Brightest grey level."""


@dataclass(frozen=True)
class Digits:
    """A random split; images ``N x 3 x 32 x 32``, normalised by mean and deviation of the training images."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def to(self, device: torch.device) -> "Digits":
        """The same on a device."""
        parts = self.train_images, self.train_labels, self.test_images, self.test_labels
        return Digits(*(part.to(device) for part in parts))


def read_digits(seed: int) -> Digits:
    """1000 images for training, 797 for testing."""
    raw = load_digits()
    order = torch.randperm(len(raw.images), generator=torch.Generator().manual_seed(seed))
    images = torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1)[order] / PEAK
    images = F.interpolate(images, scale_factor=4, mode="bilinear").repeat(1, 3, 1, 1)
    train = images[:TRAIN_IMAGES]
    images = (images - train.mean()) / train.std()
    labels = torch.tensor(raw.target)[order]
    return Digits(images[:TRAIN_IMAGES], labels[:TRAIN_IMAGES], images[TRAIN_IMAGES:], labels[TRAIN_IMAGES:])


def train(digits: Digits, width: int, epochs: int, seed: int) -> ResNet18:
    """Train with SGD, a one-cycle schedule, batches of 50, random shifts by up to 4 pixels."""
    torch.manual_seed(seed)
    network = ResNet18(width, CLASSES)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * TRAIN_IMAGES // 50)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(TRAIN_IMAGES), 50):
            shift = torch.randint(-4, 5, (2,)).tolist()
            images = torch.roll(digits.train_images[chosen], shift, (2, 3))
            loss = F.cross_entropy(network(images), digits.train_labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    return network.eval()
