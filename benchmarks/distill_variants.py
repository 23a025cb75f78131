"""One run of ``distill_choices``: learn as ``distill`` does, with one choice changed, and measure."""

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from distill_ideas import Idea, add_idea, plan_with, without_bit_mappings
from ptq_run import fastest, score, shared
from torch import Tensor, nn
from torch.nn.utils import parametrize

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.lessons import Lesson, Lessons, recorded
from srquant.distillation.loop import Loss, Rate
from srquant.distillation.losses import output_loss, root_mean_square, squared_distance
from srquant.distillation.recipes import distillation
from srquant.grids.range_rules import minmax, mse, symmetric_mse
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Granularity, LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.methods.adabm.adaptive_bits import AdaptiveNetwork
from srquant.methods.adabm.branches import settle_branches
from srquant.methods.distill.effort import Amount
from srquant.methods.distill.learn import learn
from srquant.methods.distill.method import Distill, crops, held_out_crops, without_features
from srquant.methods.distill.narrow import narrow_ranges
from srquant.methods.distill.near_float import move_near_float
from srquant.methods.distill.rates import own_size_rates, size
from srquant.methods.distill.saved import Saved
from srquant.methods.distill.start import MOMENTUM, narrowing_crops
from srquant.methods.ranges.pipeline import BATCH, Ranges, insert_by_ranges
from srquant.methods.settle_trained import deployable
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.quantizers.layers import quant_layers, quantized_weight, scaled_weight
from srquant.training.averages import Averages
from srquant.weight_rounding.choose import round_weights

WEIGHTS, CALIBRATION = "weights/edsr/edsr_r8f64_x2.pt", "data/DIV2K_test_LR/LR_bicubic/X4"
SETS = ("Set5", "Set14")


def root_mean_square_by_crop(student: Tensor, teacher: Tensor) -> Tensor:
    """The root mean square difference of each crop, averaged over crops."""
    return (student - teacher).square().flatten(1).mean(1).clamp(min=1e-24).sqrt().mean()


LOSSES = {"absolute": output_loss, "squares": root_mean_square, "squares by crop": root_mean_square_by_crop}


@dataclass(frozen=True)
class Choice:
    """What is changed of ``distill``; the defaults are its own.

    Attributes:
        label: in the table.
        start: rounding at the start; all but ``on points`` and ``nearest`` move weights near the float ones.
        narrowed: whether activation ranges are narrowed at the start.
        loss: in ``LOSSES``.
        feature_weight: factor of the loss of normalised features.
        learning_rate: of weights, relative; None: distill's own for the bits.
        bound_rate: of bounds, relative.
        batch: crops per step.
        patch: their side.
        different: share of the steps with new crops.
        granularity: of weight and activation grids.
        average: decay of a moving average of all parameters, which becomes the result; 0: none.
        damping: factor of the loss that draws weights to their grid points, rising from 0 (oscillation damping, Nagel
            et al. 2022), relative to the mean square of the weights.
        rank: of the change of each weight; 0: weights learn freely.
        blocks_share: share of the steps in which one block after the other learns its float output (as BRECQ), before
            everything learns together.
        progressive: whether two more bits, then one more are learned first, each for a quarter of the steps; the
            weights learned become the float weights of the next start.
        idea: of a published method, added to ``distill``.
    """

    label: str
    start: Literal["gptq", "on points", "nearest", "gptaq"] = "gptq"
    narrowed: bool = True
    loss: str = "absolute"
    feature_weight: float = 0.0
    learning_rate: float | None = None
    bound_rate: float = 0.001
    batch: int = 4
    patch: int = 48
    different: float = 0.5
    granularity: Granularity = "tensor"
    average: float = 0.0
    damping: float = 0.0
    rank: int = 0
    blocks_share: float = 0.0
    progressive: bool = False
    idea: Idea = "none"

    def weight_rate(self, bits: int) -> float:
        """Learning rate of weights, relative, at some number of bits."""
        return Distill(learning_rate=self.learning_rate).weight_rate(Policy(LayerBits(bits, bits)))


def learn_to_file(choice: Choice, bits: int, steps: int, device: torch.device, path: Path) -> None:
    """Learn on a device, and write the frozen network."""
    network = load_model(shared() / WEIGHTS).to(device)
    calibration = CalibrationSet(shared() / CALIBRATION, patch=choice.patch)
    student = learned(choice, network, calibration, bits, steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(freeze(finished(student, Policy(LayerBits(bits, bits)))), path, overwrite=True)


def measure(path: Path) -> dict[str, list[float]]:
    """Y-PSNR on ``SETS`` of the integer network in a file."""
    network = load(path).network
    engine, _ = fastest(network)
    sets = [BenchmarkSet(shared() / "data" / name, network.facts.scale) for name in SETS]
    return {"psnr_y": [score(engine, benchmark).psnr_y for benchmark in sets]}


def learned(choice: Choice, network: Network, calibration: CalibrationSet, bits: int, steps: int) -> Network:
    """The quantized network after all stages, not settled."""
    needs_features = choice.feature_weight or choice.blocks_share or choice.idea == "bits"
    teacher = network if needs_features else without_features(network)
    with ExitStack() as stack:
        held_out = list(stack.enter_context(recorded(without_features(network), held_out_crops(calibration))))
        batches = crops(calibration, Amount(steps, choice.batch), choice.different)
        lessons = stack.enter_context(recorded(teacher, batches))
        for stage_bits, stage_steps in stages(choice, bits, steps):
            student = started(choice, teacher, calibration, stage_bits)
            learn_stage(choice, student, lessons, held_out, stage_bits, stage_steps)
            teacher = with_weights_of(teacher, student)
    student.facts = network.facts
    return student


def finished(student: Network, policy: Policy) -> QuantizedModel:
    """The settled result; a network with bits by picture becomes three branches."""
    origin = Origin("distill")
    if not isinstance(student, AdaptiveNetwork):
        return deployable(student, policy, origin)
    with torch.no_grad():
        for layer in quant_layers(student).values():
            layer.weight.copy_(quantized_weight(layer))
    return QuantizedModel(settle_branches(student), policy, origin)


def stages(choice: Choice, bits: int, steps: int) -> list[tuple[int, int]]:
    """Bits and steps of each stage."""
    quarter = steps // 4
    return [(bits + 2, quarter), (bits + 1, quarter), (bits, 2 * quarter)] if choice.progressive else [(bits, steps)]


def started(choice: Choice, network: Network, calibration: CalibrationSet, bits: int) -> Network:
    """Ranges, narrowed, and rounding."""
    policy = Policy(LayerBits(bits, bits), granularity=choice.granularity, activation_granularity=choice.granularity)
    ranges = Ranges(mse, symmetric_mse, MOMENTUM, minmax)
    plan = plan_with(choice.idea, resolve(network, policy), network, calibration)
    student = insert_by_ranges(network, calibration, plan, ranges)
    if choice.narrowed:
        with recorded(without_features(network), narrowing_crops(calibration)) as lessons:
            narrow_ranges(student, lessons)
    if choice.start != "nearest":
        round_weights(student, network, calibration.batches(BATCH), "gptaq" if choice.start == "gptaq" else "gptq")
    if choice.start in ("gptq", "gptaq"):
        move_near_float(student, network)
    return add_idea(choice.idea, student, plan, network, calibration)


def learn_stage(
    choice: Choice, student: Network, lessons: Lessons, held_out: list[Lesson], bits: int, steps: int
) -> None:
    """Learn in place, block by block first if asked for."""
    warm_up = round(steps * choice.blocks_share)
    if warm_up:
        learn_blocks(choice, student, lessons, held_out, bits, warm_up)
    rate, loss, done = choice.weight_rate(bits), loss_of(choice, student), Saved(None)
    rates = without_bit_mappings(own_size_rates(student, rate, choice.bound_rate), student)
    student.requires_grad_(True)
    if choice.rank:
        weights = {id(layer.weight) for layer in quant_layers(student).values()}
        rates = [rate for rate in rates if id(rate.parameters[0]) not in weights] + low_rank(student, choice.rank, rate)
    averages = Averages(student, choice.average)
    report: Callable[[int], None] = (lambda done: averages.update()) if choice.average else lambda done: None
    learn(student, rates, lessons, held_out, loss, steps - warm_up, done, report, recorded=False)
    averages.apply()
    without_low_rank(student)


def loss_of(choice: Choice, student: Network) -> Loss:
    """The loss, with the term of oscillation damping if asked for."""
    plain, steps = distillation(choice.feature_weight, LOSSES[choice.loss]), iter(range(10**9))
    if not choice.damping:
        return plain

    def damped(output: Tensor, features: list[Tensor], lesson: Lesson) -> Tensor:
        return plain(output, features, lesson) + choice.damping * min(1, next(steps) / 200) * distance_to_points(
            student
        )

    return damped


def distance_to_points(student: Network) -> Tensor:
    """Mean over layers of the squared distance of weights from their points, relative to their mean square."""
    distances = []
    for layer in quant_layers(student).values():
        weight = scaled_weight(layer.weight, layer.input_quantizer)
        points = layer.weight_quantizer(weight).detach()
        distances.append((weight - points).square().mean() / weight.detach().square().mean())
    return torch.stack(distances).mean()


def learn_blocks(
    choice: Choice, student: Network, lessons: Lessons, held_out: list[Lesson], bits: int, steps: int
) -> None:
    """One residual block after the other learns the float network's features at its end."""
    blocks = student.facts.features
    for number, name in enumerate(blocks):

        def loss(_output: Tensor, features: list[Tensor], lesson: Lesson, number: int = number) -> Tensor:
            return squared_distance(features[number], lesson.features[number]).mean()

        block = {id(parameter) for parameter in student.module.get_submodule(name).parameters()}
        rates = own_size_rates(student, choice.weight_rate(bits), choice.bound_rate)
        own = [rate for rate in rates if id(rate.parameters[0]) in block]
        learn(
            student, own, lessons, held_out, loss, max(1, steps // len(blocks)), Saved(None), lambda done: None, False
        )


class LowRank(nn.Module):
    """Adds a matrix of low rank to a weight.

    Args:
        weight: ``C_out x ...``.
        rank: of the change.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        inputs = weight[0].numel()
        self.left = nn.Parameter(weight.new_zeros(len(weight), rank))
        self.right = nn.Parameter((torch.randn(rank, inputs) / inputs**0.5).to(weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with the change."""
        changed: Tensor = weight + (self.left @ self.right).view_as(weight)
        return changed


def low_rank(student: Network, rank: int, rate: float) -> list[Rate]:
    """Give every weight a change of low rank; learning rates of its factors, ``rate`` being that of weights."""
    rates = []
    for layer in quant_layers(student).values():
        weight = layer.weight.detach()
        change = LowRank(weight, rank)
        parametrize.register_parametrization(layer.layer, "weight", change)
        inputs = weight[0].numel()
        rates.append(Rate([change.left], rate * size(weight) * inputs**0.5))
        rates.append(Rate([change.right], rate / inputs**0.5))
    return rates


def without_low_rank(student: Network) -> None:
    """Weights with their change become plain weights."""
    for layer in quant_layers(student).values():
        if parametrize.is_parametrized(layer.layer):
            parametrize.remove_parametrizations(layer.layer, "weight")


@torch.no_grad()
def with_weights_of(network: Network, student: Network) -> Network:
    """A copy of the float network with the student's weights and biases."""
    copied = copy.deepcopy(network)
    for name, layer in quant_layers(student).items():
        for parameter in ("weight", "bias"):
            copied.module.get_submodule(name).get_parameter(parameter).copy_(layer.layer.get_parameter(parameter))
    return copied
