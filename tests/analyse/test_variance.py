import json

import numpy as np
import pytest
import torch

from srquant.analyse.variance import (
    measure_variances,
    most_varied,
    ratio_between_channels,
    ratio_between_pictures,
    variance_files,
)
from srquant.models.hooks import kept_inputs


def test_variances_of_channels_and_pictures(teacher, pictures):
    batch, name = pictures(3), "body.1.body.0"
    found = measure_variances(teacher, ["head.0", name], batch.split(1))
    with torch.no_grad(), kept_inputs(teacher.module.get_submodule(name)) as inputs:
        teacher(batch)
    assert found["head.0"].shape == (3, 3)
    assert found[name] == pytest.approx(inputs[0].flatten(2).var(2, correction=0).numpy(), rel=1e-4)


def test_ratios_leave_out_channels_without_variance():
    variances = np.array([[1.0, 4.0, 0.0, 2.0], [3.0, 4.0, 0.0, 12.0]])
    assert ratio_between_channels(variances) == 7 / 4
    assert ratio_between_pictures(variances) == 3
    assert ratio_between_channels(np.zeros((2, 3))) == ratio_between_pictures(np.zeros((2, 3))) == 1


def test_the_layer_that_is_drawn_varies_most():
    assert most_varied({"a": np.array([[1.0], [2.0]]), "b": np.array([[5.0], [1.0]])}) == "b"


def test_files():
    found = {"a": np.array([[1.0, 0.0], [2.0, 0.0]]), "b": np.ones((2, 3))}
    files = variance_files(found, "a")
    lines = files["variance.csv"].decode().splitlines()
    assert len(lines) == 1 + 4 + 6
    assert lines[3] == "a,1,0,2"
    assert json.loads(files["variance.json"])["a"]["largest"] == 1.5
    assert files["variance.png"].startswith(b"\x89PNG")
