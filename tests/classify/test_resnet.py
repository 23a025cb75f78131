import pytest
import torch

from srquant.classify.resnet import ResNet18, blocks, folded, load_resnet18
from srquant.errors import CheckpointError


def test_folding_changes_logits_by_less_than_a_ten_thousandth(network, images):
    before, after = network(images), folded(network)(images)
    assert (after - before).abs().max() < 1e-4 * before.abs().max()


def test_a_folded_network_has_no_norms_and_leaves_the_original_alone(network):
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = folded(network)
    assert not any("bn" in name or "downsample.1" in name for name in result.state_dict())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_keys_and_shapes_are_those_of_torchvision():
    state = ResNet18().state_dict()
    assert len(state) == 122
    assert sum(p.numel() for p in ResNet18().parameters()) == 11_689_512
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["layer4.1.bn2.running_var"].shape == (512,)


def test_loading_finds_width_and_classes(network, images, tmp_path):
    torch.save({"state_dict": network.state_dict()}, tmp_path / "net.pth")
    loaded = load_resnet18(tmp_path / "net.pth")
    assert (loaded.width, loaded.classes) == (4, 5)
    assert torch.equal(loaded(images), network(images))


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_loading_is_strict(network, tmp_path, change):
    state = network.state_dict()
    if change == "missing":
        del state["layer3.1.conv2.weight"]
    else:
        state["layer5.0.conv1.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"layer3\.1\.conv2\.weight|layer5\.0\.conv1\.weight"):
        load_resnet18(tmp_path / "net.pth")


def test_another_network_is_refused(tmp_path):
    torch.save({"head.weight": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="ResNet-18"):
        load_resnet18(tmp_path / "net.pth")


def test_there_are_eight_blocks(network):
    assert len(blocks(network)) == 8
    assert all(network.get_submodule(name) for name in blocks(network))
