import csv
import io
import json

import pytest
import torch

from srquant.analyse import sensitivity as analysis
from srquant.analyse.sensitivity import DAN, STATIC, WEIGHT, Sensitivities, measure_sensitivities, sensitivity_files
from srquant.data.calibration import CalibrationSet
from srquant.insertion.plan import quantizable_layers, resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.load import build


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("edsr", {"blocks": 1, "features": 8}).eval()


@pytest.fixture(scope="module")
def crops(smooth_pictures):
    return CalibrationSet(smooth_pictures(2, 12, 12), 2, 0, 8)


@pytest.fixture(scope="module")
def before(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def coarse_weights(network, crops, before):
    return measure_sensitivities(network, crops, LayerBits(2, 8))


@pytest.fixture(scope="module")
def found(network, crops):
    """Activations are coarse."""
    return measure_sensitivities(network, crops, LayerBits(8, 2))


def test_every_layer_has_every_number(found, network):
    assert found.layers[0] == "head.0"
    assert found.body == list(range(1, len(found.layers) - len(network.facts.tail)))
    assert set(found.columns) == set(analysis.TITLES)
    for name, values in found.columns.items():
        assert len(values) == len(found.layers), name
    assert all(value > 0 for error in (STATIC, DAN, WEIGHT) for value in found.columns[error])


def test_the_network_is_as_it_was(coarse_weights, network, before):
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_only_one_of_weight_and_activation_is_quantized(coarse_weights, found):
    for few, more in zip(coarse_weights.columns[WEIGHT], found.columns[WEIGHT], strict=True):
        assert few > 20 * more
    for error in (STATIC, DAN):
        for few, more in zip(found.columns[error], coarse_weights.columns[error], strict=True):
            assert few > 20 * more


def test_rank_correlation():
    columns = {name: [1.0, 2.0, 3.0, 4.0] for name in analysis.TITLES}
    columns |= {
        "activation_gba": [1.0, 8.0, 9.0, 70.0],
        "activation_adabm": [4.0, 3.0, 2.0, 1.0],
        "weight_gba": [5.0] * 4,
    }
    found = Sensitivities(["a", "b", "c", "d"], [1, 2], columns).correlations(range(4))
    assert found[STATIC]["activation_gba"] == pytest.approx(1)
    assert found[DAN]["activation_adabm"] == pytest.approx(-1)
    assert found[WEIGHT] == {"weight_gba": None, "weight_adabm": pytest.approx(1)}


def test_files(found):
    table, numbers, figure = sensitivity_files(found, LayerBits(8, 2)).values()
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [row["layer"] for row in rows] == found.layers
    assert float(rows[2][STATIC]) == pytest.approx(found.columns[STATIC][2], rel=1e-5)
    read = json.loads(numbers)
    assert read["rank_correlation_between_head_and_tail"] == found.correlations(found.body)
    psnr = read["psnr_of_one_quantized_layer"][STATIC]["head.0"]
    assert 10 ** (-psnr / 10) == pytest.approx(found.columns[STATIC][0])
    assert figure.startswith(b"\x89PNG")


def test_networks_with_windows_have_every_measure(smooth_pictures):
    network = build("swinir", {"depths": [1], "heads": 2, "features": 4, "hidden": 8, "scale": 2, "window": 4}).eval()
    crops = CalibrationSet(smooth_pictures(2, 12, 12), 2, 0, 8)
    with torch.no_grad():
        found = analysis._outlier_aware(network, resolve(network, Policy(kinds=("conv", "linear"))), crops)
    (values,) = found.values()
    assert len(values) == len(quantizable_layers(network))
    assert min(values) > 0
