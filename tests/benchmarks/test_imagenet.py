"""A folder of ImageNet: which pictures are taken, how they are prepared, the command."""

import json

import classification
import numpy as np
import pytest
import torch
from imagenet import DEVIATION, MEAN, files, prepared, read_imagenet
from PIL import Image

from srquant.classify.resnet import ResNet18
from srquant.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Two classes, three pictures of each in ``train`` and in ``val``."""
    for i, place in enumerate(("train/n01", "train/n02", "val/n01", "val/n02")):
        (tmp_path / place).mkdir(parents=True)
        for j in range(3):
            pixels = np.random.default_rng(10 * i + j).integers(0, 256, (30 + j, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / place / f"{j}.png")
    return tmp_path


def test_classes_are_numbered_by_the_names_of_their_folders(folder):
    found = [(path.relative_to(folder).as_posix(), number) for path, number in files(folder / "val", 2)]
    assert found == [(f"val/n0{number + 1}/{j}.png", number) for number in range(2) for j in range(3)]


def test_calibration_takes_training_pictures(folder):
    pictures = read_imagenet(folder, 2, 4, 100, 0)
    assert (pictures.train_images.shape, pictures.test_images.shape) == ((4, 3, 224, 224), (6, 3, 224, 224))
    assert sorted(pictures.test_labels.tolist()) == [0, 0, 0, 1, 1, 1]
    again = read_imagenet(folder, 2, 4, 100, 0)
    assert torch.equal(again.train_images, pictures.train_images)
    assert not torch.equal(read_imagenet(folder, 2, 4, 100, 1).train_images, pictures.train_images)


def test_pictures_are_resized_and_cut_as_torchvision_does():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    resized = Image.fromarray(pixels).resize((341, 256), Image.Resampling.BILINEAR).crop((58, 16, 282, 240))
    found = prepared(torch.from_numpy(pixels))[0].permute(1, 2, 0) * torch.tensor(DEVIATION) + torch.tensor(MEAN)
    assert (found * 255 - torch.tensor(np.array(resized)).float()).abs().max() < 1.01


def test_a_missing_folder_and_missing_classes_are_named(folder):
    with pytest.raises(InputError, match=r"val has 2 folders, the network 1000 classes: give one folder per class"):
        files(folder / "val", 1000)
    with pytest.raises(InputError, match=r"test is missing: give a folder with train/CLASS"):
        files(folder / "test", 2)


def test_the_command_measures_a_network_on_a_folder(folder, monkeypatch):
    torch.manual_seed(0)
    torch.save(ResNet18(4, 2).state_dict(), folder / "resnet18.pth")
    command = ["classification.py", "--imagenet", str(folder), "--weights", str(folder / "resnet18.pth")]
    command += ["--images", "2", "--bits", "8", "--only", "nearest", "-o", str(folder / "table")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        classification.main()
    rows = json.loads((folder / "table.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["float", "nearest"]
    assert ended.value.code == (rows[1]["drop"] > classification.W8A8_TOLERANCE)
    assert "6 validation pictures of ImageNet, 2 training pictures" in (folder / "table.md").read_text()


def test_published_options_are_the_methods_defaults():
    labels = [contender.label for contender in classification.contenders(4, published=True)]
    assert labels[:5] == ["nearest", "AdaRound", "BRECQ", "QDrop", "PTMQ"]
    assert len(labels) == 9
    assert classification.groups_of(3) == (3, 5, 7)
