"""PTMQ (Xu et al., "PTMQ: Post-training Multi-Bit Quantization of Neural Networks", AAAI 2024).

1. Fold batch norms; one weight grid per output channel; three quantizers for every activation, with few, middle and
   many bits.
2. Block by block, learn rounding and all steps together. The block runs once per group of bits, and the mean of the
   three output features is ``f_lmh``. The input is ``f_lmh`` of the block before, in which each element is replaced
   by the float one with probability 1/2. Group distillation makes ``f_lmh`` similar to the float feature, and the
   features of few and middle bits similar to that of many bits.
3. All three groups use the same weights; the group is chosen when the network runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from srquant.classify.brecq import STEP_IMAGES
from srquant.classify.insert import initialise_steps, insert_quantizers, replace
from srquant.classify.layers import QuantReLU, mix
from srquant.classify.reconstruct import Learner, Schedule, lp_loss, reconstruct, unit_error
from srquant.classify.resnet import ResNet18, blocks, folded
from srquant.classify.seed import seeded
from srquant.classify.units import Examples, Unit, block_units, examples_of
from srquant.distillation.recipes import Progress, counter
from srquant.errors import PolicyError
from srquant.insertion.policy import LayerBits
from srquant.methods.options import option

GROUPS = 3


@dataclass(frozen=True)
class PTMQ:
    """Options of PTMQ."""

    iterations: int = option(5000, "iterations per unit", "re-implementation")
    groups: tuple[int, ...] = option((4, 6, 8), "bits of activations: few, middle, many", "re-implementation")
    drop_prob: float = option(0.5, "probability that an element of the input is quantized", "PTMQ, ablation")
    distillation: float = option(100.0, "weight of each term of group distillation", "re-implementation")
    rounding_rate: float = option(1e-3, "learning rate of the rounding variables", "re-implementation")
    step_rate: float = option(4e-3, "learning rate of the activations' steps, cosine to 0", "re-implementation")
    batch: int = option(32, "images per iteration", "re-implementation")
    seed: int = option(1005, "seed of batches and dropping", "re-implementation")


class FeatureMixer(nn.Module):
    """A block with three groups of bits; while ``fused`` is True its output is the mean of the three features."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.fused = True

    def forward(self, x: Tensor) -> Tensor:
        """Shapes as for the block."""
        output: Tensor = fuse(self.features(x)) if self.fused else self.block(x)
        return output

    def features(self, x: Tensor) -> list[Tensor]:
        """The output with few, middle and many bits."""
        return [_run_with(self.block, group, x) for group in range(GROUPS)]


def quantize(
    network: ResNet18, images: Tensor, bits: LayerBits, config: PTMQ, progress: Progress | None = None
) -> ResNet18:
    """Quantize weights once and activations for three groups of bits; arguments as for ``brecq.quantize``.

    Returns:
        The quantized network running with the group of ``bits.activation``; ``choose_group`` changes the group.

    Raises:
        PolicyError: there are not three groups, or none has ``bits.activation``.
    """
    if len(config.groups) != GROUPS or bits.activation not in config.groups:
        raise PolicyError(f"groups {config.groups}: give three numbers of bits, one of them {bits.activation}")
    teacher = folded(network)
    student = insert_quantizers(teacher, bits.weight, config.groups)
    initialise_steps(student, images[:STEP_IMAGES])
    for name in blocks(student):
        replace(student, name, FeatureMixer(student.get_submodule(name)))
    with seeded(config.seed):
        for unit in block_units(teacher):
            unit.switch_on(student, weights=True, activations=True)
            learn(unit, teacher, student, images, config, progress)
    choose_group(student, config.groups.index(bits.activation))
    return student


def learn(
    unit: Unit, teacher: ResNet18, student: ResNet18, images: Tensor, config: PTMQ, progress: Progress | None
) -> None:
    """Learn rounding and steps of one unit."""
    examples = examples_of(unit, teacher, student, images)
    mixer = student.get_submodule(unit.names[0])

    def loss(chosen: Tensor) -> Tensor:
        inputs = mix(examples.quantized_input[chosen], examples.float_input[chosen], config.drop_prob)
        if isinstance(mixer, FeatureMixer):
            return group_distillation(examples.target[chosen], mixer.features(inputs), config.distillation)
        return lp_loss(unit.run(student)(inputs), examples.target[chosen])

    schedule = Schedule(config.iterations, config.batch, config.rounding_rate, config.step_rate)
    learner = Learner(unit.roundings(student), unit.quantizers(student))
    error = partial(mean_error, unit, student, examples)
    report = counter(progress, unit.names[0], config.iterations)
    reconstruct(learner, len(images), schedule, loss, error, report)


def fuse(features: list[Tensor]) -> Tensor:
    """``f_lmh``, the mean of the three features."""
    return sum(features[1:], features[0]) / len(features)


def group_distillation(target: Tensor, features: list[Tensor], weight: float) -> Tensor:
    """``weight * (MSE(f_fp, f_lmh) + MSE(f_h, f_m) + MSE(f_h, f_l))``, 0-d."""
    low, middle, high = features
    return weight * (F.mse_loss(fuse(features), target) + F.mse_loss(middle, high) + F.mse_loss(low, high))


def choose_group(network: nn.Module, group: int) -> None:
    """Run with few (0), middle (1) or many (2) bits from now on."""
    for module in network.modules():
        if isinstance(module, FeatureMixer):
            module.fused = False
        elif isinstance(module, QuantReLU):
            module.group = group


def mean_error(unit: Unit, student: ResNet18, examples: Examples) -> float:
    """Reconstruction error on all images, mean over the three groups."""
    part = student.get_submodule(unit.names[0])
    runs = [unit.run(student)]
    if isinstance(part, FeatureMixer):
        runs = [partial(_run_with, part.block, group) for group in range(GROUPS)]
    return sum(unit_error(run, examples.quantized_input, examples.target) for run in runs) / len(runs)


def _run_with(block: nn.Module, group: int, x: Tensor) -> Tensor:
    with _chosen(block, group):
        output: Tensor = block(x)
    return output


@contextmanager
def _chosen(block: nn.Module, group: int) -> Iterator[None]:
    relus = [module for module in block.modules() if isinstance(module, QuantReLU)]
    before = [relu.group for relu in relus]
    for relu in relus:
        relu.group = group
    yield
    for relu, old in zip(relus, before, strict=True):
        relu.group = old
