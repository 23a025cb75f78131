import copy

import numpy as np
import pytest
import torch

from srquant.analyse.features import feature_files, last_features, measure_features
from srquant.errors import PolicyError
from srquant.models.hooks import kept_outputs

LAYER = "body.1"


@pytest.fixture
def low():
    return np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)


def test_maps_are_mean_magnitudes(teacher, low):
    other = copy.deepcopy(teacher)
    torch.nn.init.normal_(other.module.get_submodule(f"{LAYER}.body.2").weight)
    first, second = measure_features(["a", "b"], [teacher, other], LAYER, low)
    picture = torch.from_numpy(low).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad(), kept_outputs(teacher.module.get_submodule(LAYER)) as outputs:
        teacher(picture)
    assert first.values == pytest.approx(outputs[0][0].abs().mean(0).numpy(), rel=1e-5)
    assert first.likeness == pytest.approx(1)
    assert second.likeness == pytest.approx(np.corrcoef(first.values.ravel(), second.values.ravel())[0, 1])
    assert second.likeness < 0.99


def test_the_layer_behind_the_blocks_is_the_default(teacher):
    assert last_features(teacher) == "body.2"


def test_unknown_layers_are_refused(teacher, low):
    with pytest.raises(PolicyError, match=r"a has no module 'body\.9'; did you mean"):
        measure_features(["a"], [teacher], "body.9", low)


def test_files(teacher, low):
    files = feature_files(measure_features(["a", "b"], [teacher, teacher], LAYER, low), LAYER)
    assert files["features.csv"].decode().splitlines()[2].endswith(",1")
    assert files["features.png"].startswith(b"\x89PNG")
