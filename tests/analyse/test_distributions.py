import csv
import io
import json

import pytest
import torch

from srquant.analyse.distributions import Cut, _cut, distribution_files, measure_distributions
from srquant.analyse.grid_bounds import GridBounds, activation_bounds, weight_bounds
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.models.hooks import kept_inputs
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import quant_layers

LAYER = "body.0.body.0"


@pytest.fixture
def frozen(teacher, quantized):
    def make(granularity="tensor"):
        policy = Policy(LayerBits(3, 3), activation_granularity=granularity)
        return quantized(teacher, policy), policy

    return make


def finished(student, policy):
    settle(student)
    return freeze(QuantizedModel(student, policy, Origin("minmax")))


def test_bounds_are_those_of_the_quantizers(frozen):
    student, policy = frozen()
    model = finished(student, policy)
    layer = quant_layers(student.requires_grad_(False))[LAYER]
    found = activation_bounds(model)[LAYER]
    assert found.outermost() == (float(layer.input_quantizer.lower), float(layer.input_quantizer.upper))
    lower, upper = weight_bounds(model)[LAYER].outermost()
    assert upper == pytest.approx(float(layer.weight_quantizer.upper), rel=1e-5)
    assert lower == pytest.approx(-upper)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_min_max_bounds_hold_all_values(frozen, teacher, pictures, granularity):
    model = finished(*frozen(granularity))
    bounds = (weight_bounds(model),), (activation_bounds(model),)
    found = measure_distributions(teacher, [LAYER], [], [pictures()], ["minmax"], bounds)
    (weights,), (activations,) = found.weight_cuts[LAYER], found.activation_cuts[LAYER]
    assert (weights.below, weights.above) == (0, 0)
    assert (activations.below, activations.above) == (0, 0)
    weight = teacher.module.get_submodule(LAYER).weight.detach()
    assert weights.upper >= float(weight.max()) * 0.999


def test_ranges_that_follow_the_picture_have_no_bounds(frozen):
    student, policy = frozen()
    quant_layers(student)[LAYER].input_quantizer = DANQuantizer(3, 1)
    model = finished(student, policy)
    assert LAYER not in activation_bounds(model)
    assert LAYER in weight_bounds(model)


def test_shares_beyond_bounds_and_histograms(teacher, pictures):
    batches = [pictures(1, seed=seed) for seed in (1, 2)]
    with torch.no_grad(), kept_inputs(teacher.module.get_submodule(LAYER)) as inputs:
        for batch in batches:
            teacher(batch)
    values = torch.cat([x.flatten() for x in inputs])
    lower, upper = values.quantile(torch.tensor([0.1, 0.8]))
    file = {LAYER: GridBounds(lower, upper)}
    found = measure_distributions(teacher, [LAYER], [LAYER], batches, ["a", "b"], ((file, {}), (file, {})))
    cut, none = found.activation_cuts[LAYER]
    assert none is None
    slack = 0.01 * (upper - lower)
    assert cut.below == pytest.approx(float((values < lower - slack).float().mean()), abs=1e-6)
    assert cut.above == pytest.approx(float((values > upper + slack).float().mean()), abs=1e-6)
    assert 0.05 < cut.below < 0.1
    histogram = found.activations[LAYER]
    assert histogram.counts.sum() == values.numel()
    assert (histogram.smallest, histogram.largest) == (float(values.min()), float(values.max()))
    first, second = found.by_picture[LAYER]
    assert min(first.smallest, second.smallest) == histogram.smallest
    assert first.counts.sum() == second.counts.sum() == values.numel() // 2
    deviations = (values - values.mean()).double()
    assert histogram.skewness == pytest.approx(
        float(deviations.pow(3).mean() / deviations.square().mean() ** 1.5), abs=1e-3
    )


def test_values_hardly_below_a_bound_are_not_cut():
    values, near = torch.tensor([0.0, 0.0, 0.5, 1.0]), torch.tensor(0.005)
    assert _cut([values], GridBounds(near, torch.tensor(1.0))).below == 0
    assert _cut([values], GridBounds(10 * near, torch.tensor(1.0))) == Cut(
        pytest.approx(0.05), pytest.approx(1), pytest.approx(0.5), 0
    )


def test_files(teacher, pictures):
    file = {LAYER: GridBounds(torch.tensor(-0.01), torch.tensor(0.01))}
    found = measure_distributions(teacher, [LAYER, "tail.1"], [LAYER], [pictures()], ["a"], ((file,), (file,)))
    table, numbers, *figures = distribution_files(found).values()
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [(row["layer"], row["values"]) for row in rows] == [
        (LAYER, "weights"),
        ("tail.1", "weights"),
        (LAYER, "activations"),
        ("tail.1", "activations"),
    ]
    assert rows[1]["lower"] == ""
    assert float(rows[2]["upper_percentile"]) == pytest.approx(
        100 * (1 - found.activation_cuts[LAYER][0].above), rel=1e-4
    )
    assert json.loads(numbers)["weights"]["tail.1"]["largest"] == found.weights["tail.1"].largest
    assert all(figure.startswith(b"\x89PNG") for figure in figures)
