import csv
import io

import numpy as np
import pytest
import torch

from srquant.analyse.bits import bit_files, bits_of
from srquant.analyse.picture_bits import bits_by_picture, measure_picture_bits, picture_bit_files
from srquant.deploy.frozen.freeze import freeze
from srquant.errors import PolicyError
from srquant.insertion.branched_network import BranchedNetwork
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle


@pytest.fixture
def frozen(teacher, quantized):
    def make(policy):
        student = quantized(teacher, policy)
        settle(student)
        return freeze(QuantizedModel(student, policy, Origin("minmax"))).network

    return make


@pytest.fixture
def branched(frozen):
    """Pictures of one colour take 3 bits, others 5."""
    low, middle, high = (frozen(Policy(LayerBits(4, bits))) for bits in (3, 4, 5))
    return BranchedNetwork((low, middle, high), torch.tensor([0.5, 0.5]))


def test_bits_of_layers(frozen):
    policy = Policy(LayerBits(4, 3), overrides=(Override("body.0.body.0", LayerBits(6, 5)),), tail=None)
    (named,) = bits_of("a", frozen(policy))
    rows = list(csv.DictReader(io.StringIO(bit_files([named])["bits.csv"].decode())))
    found = {row["layer"]: (row["weight_bits"], row["activation_bits"]) for row in rows}
    assert found["head.0"] == ("8", "8")
    assert found["body.0.body.0"] == ("6", "5")
    assert found["body.0.body.2"] == ("4", "3")
    assert found["tail.1"] == ("", "")


def test_each_branch_has_its_bits(branched):
    named = bits_of("a", branched)
    assert [of.label for of in named] == ["a, branch low", "a, branch middle", "a, branch high"]
    activations = [next(layer for layer in of.layers if layer.name == "body.0.body.0").activation_bits for of in named]
    assert activations == [3, 4, 5]
    assert bit_files(named)["bits.png"].startswith(b"\x89PNG")


def test_bits_of_pictures_and_patches(branched):
    low = np.zeros((20, 32, 3), np.uint8)
    low[:, 16:] = np.random.default_rng(0).integers(0, 256, (20, 16, 3), np.uint8)
    found = measure_picture_bits(bits_by_picture(branched), "half", low, 16)
    assert [(patch.left, patch.right, patch.bottom, patch.bits) for patch in found.patches] == [
        (0, 16, 20, 3),
        (16, 32, 20, 5),
    ]
    assert (found.whole, found.mean) == (5, 4)
    files = picture_bit_files([found])
    assert files["picture_bits.csv"].decode().splitlines()[1] == "half,0,20,0,16,3"
    assert files["picture_bits.png"].startswith(b"\x89PNG")


def test_networks_with_the_same_bits_for_all_pictures_are_refused(frozen, teacher):
    with pytest.raises(PolicyError, match=r"they are 4\.00 for all"):
        bits_by_picture(frozen(Policy()))
    with pytest.raises(PolicyError, match="a float network"):
        bits_by_picture(teacher)
