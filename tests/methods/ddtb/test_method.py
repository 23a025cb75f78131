"""DDTB: its grid, its gates and when they open, its first bounds."""

from pathlib import Path

import pytest
import torch

from srquant.deploy.export.program import export_graph
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.loop import adam
from srquant.errors import EngineError, PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.ddtb.gate import GatedQuantizer, TrainableBoundsQuantizer
from srquant.methods.ddtb.method import DDTB, DdtbStudent, prepare
from srquant.methods.options import configure
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quantizers.by_picture import conditional_quantizers
from srquant.quantizers.layers import activation_quantizers, quant_layers

LOW, HIGH = torch.rand(4, 3, 12, 12), torch.rand(4, 3, 24, 24)
FIRST_OPEN, STEPS = 10, 120


def edsr() -> Network:
    torch.manual_seed(0)
    return build("edsr", {"blocks": 2, "features": 4, "scale": 2})


def student(*settings: str, bits: int = 4) -> DdtbStudent:
    policy = Policy(LayerBits(bits, bits), head=None, tail=None)
    return prepare(edsr(), [LOW], policy, configure(DDTB, settings), STEPS)


def train(trained: DdtbStudent, *steps: int) -> None:
    optimizer = adam(trained.rates())
    for step in steps:
        optimizer.zero_grad()
        trained(LOW, HIGH, step).backward()
        optimizer.step()
        trained.after_step(step)


def paper(x: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, bits: int) -> torch.Tensor:
    """Equations 3 and 4."""
    scale = (2**bits - 1) / (upper - lower)
    zero = (scale * lower).round() + 2 ** (bits - 1)
    return ((scale * x.clamp(lower, upper) - zero).round() + zero) / scale


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("lower", "upper"), [(-1.0, 2.2), (-3.31, 0.1), (0.0, 1.7)])
def test_the_grid_is_that_of_the_paper_and_holds_zero(bits: int, lower: float, upper: float) -> None:
    bounds, x = (torch.tensor(lower), torch.tensor(upper)), torch.randn(5000) * 3
    x[0] = 0
    quantizer = TrainableBoundsQuantizer(*bounds, bits)
    points = quantizer(x).detach()
    wanted = paper(x, *bounds, bits)
    ties = ((points - wanted).abs() > 1e-5).sum()
    assert ties <= 2, "only rounding of a value halfway between two points may differ"
    assert points[0].abs() < 1e-6
    plain = quantizer.deployable()
    assert torch.allclose(plain(x), points, atol=1e-6)
    with torch.no_grad():
        plain.settle(2.0**-20)
        assert plain(x)[0] == 0, "exactly, where the network is deployed"


def test_a_gate_that_gives_nothing_changes_nothing() -> None:
    static = TrainableBoundsQuantizer(torch.tensor(-1.3), torch.tensor(2.0), 3)
    gated = GatedQuantizer(3, channels=5)
    gated.lower.data.fill_(-1.3)
    gated.upper.data.fill_(2.0)
    for parameter in gated.gate.layers[-1].parameters():
        parameter.data.zero_()
    x = torch.randn(4, 5, 6, 6)
    assert torch.allclose(gated.eval()(x), static(x), atol=1e-6)


def test_open_gates_move_bounds_for_each_sample_and_closed_ones_dont() -> None:
    gated = GatedQuantizer(3, channels=5).eval()
    x = torch.randn(4, 5, 6, 6)
    lower, upper = gated.bounds(x)
    factors = 2 * gated.gate(x.mean((2, 3))).sigmoid()
    assert torch.allclose(torch.cat([upper, -lower], 1).flatten(1), factors)
    assert upper.unique().numel() == 4
    assert torch.equal(gated(x)[1:2], gated(x[1:2])), "samples don't see each other"
    gated.open = False
    assert torch.equal(gated(x), TrainableBoundsQuantizer(torch.tensor(-1.0), torch.tensor(1.0), 3)(x))
    assert torch.equal(gated(x), gated.deployable()(x))


def test_codes_are_those_of_the_points() -> None:
    gated = GatedQuantizer(3, channels=5).eval()
    x = torch.randn(4, 5, 6, 6)
    codes, points = gated.codes(x), gated(x).detach()
    assert codes.min() >= 0
    assert codes.max() <= 7
    for sample in range(4):
        assert all(points[sample][codes[sample] == code].std() < 1e-5 for code in codes[sample].unique()[:3])


def test_first_bounds_are_percentiles_of_the_first_batch() -> None:
    head = edsr().module.head(edsr().module.sub_mean(255 * LOW)).detach().flatten()
    bounds = torch.quantile(head, torch.tensor([0.01, 0.99]))
    quantizer = activation_quantizers(student("gates=false").network)["body.0.body.0"]
    assert torch.allclose(torch.stack([quantizer.lower, quantizer.upper]), bounds, rtol=1e-4)


@pytest.mark.parametrize(("bits", "constant"), [(2, False), (4, True)])
def test_as_in_the_code_they_are_constant_above_two_bits(bits: int, constant: bool) -> None:
    grids = student("ddtb_init=code", bits=bits).grids
    assert all((float(q.upper.detach()) == 10) is constant for q in grids)


def test_gates_stand_where_pictures_differ_most() -> None:
    trained = student("dynamic_ratio=0.3")
    assert len(trained.grids) == 7
    assert len(trained.gated) == 2
    assert not student("gates=false").gated


def test_weights_are_cut_at_percentiles_and_hold_zero() -> None:
    trained = student()
    train(trained, 0)
    for layer in quant_layers(trained.network).values():
        weight, quantizer = layer.weight.detach(), layer.weight_quantizer
        lower, upper = torch.quantile(weight.flatten(), torch.tensor([0.01, 0.99]))
        step = (upper - lower) / 15
        assert (quantizer.lower - lower).abs() <= step / 2 + 1e-6
        assert quantizer.upper - quantizer.lower == pytest.approx(float(upper - lower), rel=1e-4)
        assert quantizer(torch.zeros(3)).abs().max() < 1e-6 * float(upper)


def test_gates_learn_to_rest_first_and_open_in_the_sixth_epoch() -> None:
    trained = student()
    train(trained, 0, FIRST_OPEN - 1)
    assert not any(quantizer.open for quantizer in trained.gated)
    assert all(quantizer.gate.layers[0].weight.grad is not None for quantizer in trained.gated)
    assert not conditional_quantizers(trained.result().network), "closed gates are plain grids"
    train(trained, FIRST_OPEN)
    assert all(quantizer.open for quantizer in trained.gated)
    assert conditional_quantizers(trained.result().network)


def test_a_file_holds_open_gates_and_other_engines_refuse_them(tmp_path: Path) -> None:
    trained = student("dynamic_ratio=0.8")
    train(trained, FIRST_OPEN, FIRST_OPEN + 1)
    model = freeze(trained.result())
    save(model, tmp_path / "gated.safetensors")
    loaded = load(tmp_path / "gated.safetensors")
    with torch.no_grad():
        images = torch.rand(2, 3, 10, 11)
        wanted = trained.result().network(images)
        assert torch.allclose(model.network(images), wanted, atol=1e-3)
        assert torch.equal(loaded.network(images), model.network(images))
    with pytest.raises(EngineError, match="--engine torch"):
        export_graph(loaded.network)


def test_one_crop_is_too_few_for_gates() -> None:
    with pytest.raises(PolicyError, match="2 crops"):
        student()(LOW[:1], HIGH[:1], 0)
    student("gates=false")(LOW[:1], HIGH[:1], 0)


def test_bounds_stay_apart() -> None:
    trained = student()
    for quantizer in trained.grids:
        quantizer.upper.data.copy_(quantizer.lower - 1)
    trained.after_step(0)
    assert all(bool(quantizer.upper > quantizer.lower) for quantizer in trained.grids)
