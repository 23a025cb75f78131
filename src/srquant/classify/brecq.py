"""BRECQ (Li et al., "Pushing the Limit of Post-Training Quantization by Block Reconstruction", ICLR 2021).

1. Fold batch norms; weights on grids per output channel by Lp search.
2. Unit by unit (stem, 8 blocks, classifier), with float activations: learn the rounding so that the unit reproduces the
   output of the float unit. The input comes from the units before it, which are already quantized.
3. Search the steps of the activations on 64 images, then learn them unit by unit with the L2.4 loss.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from srquant.classify.insert import initialise_steps, insert_quantizers
from srquant.classify.reconstruct import Learner, Schedule, lp_loss, reconstruct, unit_error
from srquant.classify.resnet import ResNet18, folded
from srquant.classify.seed import seeded
from srquant.classify.units import FORWARD_BATCH, Examples, Unit, block_units, examples_of
from srquant.distillation.recipes import Progress, counter
from srquant.insertion.policy import LayerBits
from srquant.methods.options import option

ACTIVATION_POWER = 2.4
STEP_IMAGES = 64


@dataclass(frozen=True)
class BRECQ:
    """Options of BRECQ."""

    iterations: int = option(20000, "iterations per unit, for weights", "BRECQ section 4")
    activation_iterations: int = option(5000, "iterations per unit, for activations", "BRECQ code")
    rounding_rate: float = option(1e-3, "learning rate of the rounding variables", "BRECQ code")
    step_rate: float = option(4e-4, "learning rate of the activations' steps, cosine to 0", "BRECQ code")
    batch: int = option(32, "images per iteration", "BRECQ section 4")
    loss: Literal["mse", "fisher_diag"] = option(
        "mse", "squared error, unweighted or weighted by squared gradients of the output", "code; paper: fisher_diag"
    )
    damping: float = option(
        0.0, "fisher_diag: added to the gradients' magnitudes; with 1 the weights are nearly equal", "paper; code: 1"
    )
    reconstruct_first: bool = option(False, "learn the first layer's rounding as well", "BRECQ code")
    seed: int = option(1005, "seed of the batches", "BRECQ code")


def quantize(
    network: ResNet18, images: Tensor, bits: LayerBits, config: BRECQ, progress: Progress | None = None
) -> ResNet18:
    """Quantize with block reconstruction.

    Args:
        network: float, with or without batch norms; left unchanged.
        images: calibration images as the network takes them, ``N x 3 x H x W``, on its device.
        bits: of weights and activations between the first and the last layer; those two have 8.
        config: options.
        progress: called after every iteration.

    Returns:
        The quantized network, with the module names of ``insert_quantizers``.
    """
    teacher = folded(network)
    student = insert_quantizers(teacher, bits.weight, (bits.activation,))
    units = block_units(student)
    with seeded(config.seed):
        for unit in units:
            unit.switch_on(student, weights=True)
            if unit is not units[0] or config.reconstruct_first:
                learn_weights(unit, teacher, student, images, config, progress)
        schedule = Schedule(config.activation_iterations, config.batch, step_rate=config.step_rate)
        learn_activations(teacher, student, images, schedule, progress)
    return student


def learn_weights(
    unit: Unit, teacher: ResNet18, student: ResNet18, images: Tensor, config: BRECQ, progress: Progress | None
) -> None:
    """Learn the rounding of one unit."""
    examples = examples_of(unit, teacher, student, images)
    weight = torch.ones_like(examples.target)
    if config.loss == "fisher_diag":
        weight = fisher(unit, teacher, student, images, config.damping)
    run = unit.run(student)

    def loss(chosen: Tensor) -> Tensor:
        difference = run(examples.quantized_input[chosen]) - examples.target[chosen]
        return (weight[chosen] * difference.square()).sum(1).mean()

    schedule = Schedule(config.iterations, config.batch, config.rounding_rate)
    error = partial(weighted_error, unit, student, examples, weight)
    report = counter(progress, f"weights of {unit.names[0]}", config.iterations)
    reconstruct(Learner(unit.roundings(student), []), len(images), schedule, loss, error, report)


def learn_activations(
    teacher: ResNet18, student: ResNet18, images: Tensor, schedule: Schedule, progress: Progress | None
) -> None:
    """Search the steps of all activations, then learn them unit by unit; weights must be quantized already."""
    initialise_steps(student, images[:STEP_IMAGES])
    for unit in block_units(student):
        unit.switch_on(student, activations=True)
        learn_steps(unit, teacher, student, images, schedule, progress)


def learn_steps(
    unit: Unit, teacher: ResNet18, student: ResNet18, images: Tensor, schedule: Schedule, progress: Progress | None
) -> None:
    """Learn the activations' steps of one unit."""
    examples = examples_of(unit, teacher, student, images)
    run = unit.run(student)

    def loss(chosen: Tensor) -> Tensor:
        return lp_loss(run(examples.quantized_input[chosen]), examples.target[chosen], ACTIVATION_POWER)

    error = partial(unit_error, run, examples.quantized_input, examples.target, ACTIVATION_POWER)
    report = counter(progress, f"activations of {unit.names[0]}", schedule.iterations)
    reconstruct(Learner([], unit.quantizers(student)), len(images), schedule, loss, error, report)


@torch.no_grad()
def weighted_error(unit: Unit, student: ResNet18, examples: Examples, weight: Tensor) -> float:
    """The weighted squared error, summed over channels, mean over all images and positions."""
    outputs = torch.cat([unit.run(student)(x) for x in torch.split(examples.quantized_input, FORWARD_BATCH)])
    return float((weight * (outputs - examples.target).square()).sum(1).mean())


def fisher(unit: Unit, teacher: ResNet18, student: ResNet18, images: Tensor, damping: float) -> Tensor:
    """Diagonal of the Fisher information at a unit's output (BRECQ Eq. 10), scaled to mean 1.

    These are the squared gradients of the Kullback-Leibler divergence between the predictions of the float network and
    of the network that is quantized up to this unit; units after it must still be float.
    """
    gradients = torch.cat([_gradients(unit, teacher, student, batch) for batch in torch.split(images, FORWARD_BATCH)])
    squares = (gradients.abs() + damping).square()
    return squares / squares.mean().clamp(min=torch.finfo(squares.dtype).tiny)


def _gradients(unit: Unit, teacher: ResNet18, student: ResNet18, images: Tensor) -> Tensor:
    outputs: list[Tensor] = []

    def watch(module: torch.nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        outputs.append(output.detach().requires_grad_(True))
        return outputs[0]

    with student.get_submodule(unit.names[-1]).register_forward_hook(watch):
        predicted = F.log_softmax(student(images), 1)
    divergence = F.kl_div(predicted, F.softmax(teacher(images), 1), reduction="sum")
    return torch.autograd.grad(divergence, outputs[0])[0]
