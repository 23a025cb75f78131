"""Eight bits cost next to nothing on real pictures."""

import pytest
import torch
from torch.nn import functional as F

from srquant.classify import adaround, brecq, gba, ptmq, qdrop
from srquant.classify.evaluate import top1
from srquant.classify.resnet import ResNet18, folded
from srquant.insertion.policy import LayerBits

datasets = pytest.importorskip("sklearn.datasets")
TRAIN, EPOCHS, TOLERANCE = 1000, 10, 0.4
FEW = 2
RUNS = {
    "adaround": (adaround, adaround.AdaRound(FEW, activation_iterations=FEW)),
    "brecq": (brecq, brecq.BRECQ(FEW, FEW)),
    "qdrop": (qdrop, qdrop.QDrop(FEW)),
    "ptmq": (ptmq, ptmq.PTMQ(FEW)),
    "gba": (gba, gba.GBA(epochs=1, batch=32)),
    "gba_dan": (gba, gba.GBA(epochs=1, batch=32, dynamic=True, weights="tensor")),
}


@pytest.fixture(scope="module")
def trained():
    """A network of width 8 trained for ten epochs on 1000 digits; all digits, enlarged to 16x16, and their classes."""
    torch.manual_seed(0)
    raw = datasets.load_digits()
    images = F.interpolate(torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1) / 8 - 1, scale_factor=2)
    images, labels = images.repeat(1, 3, 1, 1), torch.tensor(raw.target)
    network = ResNet18(8, 10)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=EPOCHS * TRAIN // 50)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(TRAIN), 50):
            optimizer.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            scheduler.step()
    return network.eval(), images, labels


def test_the_float_network_has_learned_the_digits(trained):
    network, images, labels = trained
    exact = top1(network, images[TRAIN:], labels[TRAIN:])
    print(f"float top-1 {exact:.2f} %")
    assert exact > 90
    assert top1(folded(network), images[TRAIN:], labels[TRAIN:]) == exact


@pytest.mark.parametrize("name", RUNS)
def test_eight_bits_lose_less_than_half_a_point(trained, name):
    network, images, labels = trained
    module, config = RUNS[name]
    quantized = module.quantize(network, images[:128], LayerBits(8, 8), config)
    exact, score = (top1(n, images[TRAIN:], labels[TRAIN:]) for n in (network, quantized))
    assert score > exact - TOLERANCE
